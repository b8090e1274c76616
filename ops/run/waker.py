"""Wakes supervisord when a signal comes: when a program has ended, and when it is to stop.

supervisord looks once a second, and when a pipe has something to read. A program that ends closes its pipes, but may
not be gone at that moment, and since Python 3.5 a signal no longer breaks into a wait. So an end could be noticed a
second late, and a program that ended at once then counted as one that had started: it was never given up.
"""

from __future__ import annotations

import contextlib
import os
import signal

#: Bytes that are taken off the pipe at a time; each signal is one.
_SOME = 512


class Waker:
    """A pipe that each signal is written into, so that supervisord's wait ends. One a process."""

    def __init__(self) -> None:
        self._heard, self._told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def listen(self, listened_to: dict[int, object]) -> None:
        """Join what is listened to, by file descriptor. Only the main thread may."""
        signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        listened_to[self._heard] = self

    def readable(self) -> bool:
        """Say that something may come."""
        return True

    def writable(self) -> bool:
        """Say that nothing goes out."""
        return False

    def handle_read_event(self) -> None:
        """Forget what has come: to have been woken is all."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._heard, _SOME):
                pass

    def handle_error(self) -> None:
        """Nothing can go wrong that would matter."""
