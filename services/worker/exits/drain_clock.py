"""Ends a worker some seconds after a stop signal, whatever its main thread is doing.

Python runs a signal's handler in the main thread between two instructions: never while a batch is in native
code. The number of the signal is written to a file descriptor at once, though (signal.set_wakeup_fd), and a
thread can read it there.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

#: What asks a worker to leave.
STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})


class DrainClock:
    """Calls `leave` so many seconds after the first stop signal that has a Python handler."""

    def __init__(self, seconds: float, leave: Callable[[], None]) -> None:
        self._seconds = seconds
        self._leave = leave
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)

    def start(self) -> None:
        """Listen from now on. Raises ValueError outside the main thread."""
        # A full pipe is no matter: it is read to the first stop signal, and then no more.
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        threading.Thread(target=self._wait, name="drain clock", daemon=True).start()

    def _wait(self) -> None:
        while os.read(self._reader, 1)[0] not in STOP_SIGNALS:
            pass
        time.sleep(self._seconds)
        self._leave()
