"""What all tests take for granted."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Hear Ctrl-C: who is started in the background by a shell ignores it, and so would the programs that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
