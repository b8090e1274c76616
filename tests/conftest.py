"""Settings of all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Handle Ctrl-C, which background programs of a shell ignore, and so would the tests'."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
