"""supervisord's standard output: a slow reader, or none, cannot stop the appliance.

supervisord has one thread. While it waits for a reader it starts no worker again, and every program that
prints stands still with it. So nobody is waited for: lines are kept for a while, and left out after that.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

#: Bytes of lines that wait for a reader. After that lines are left out until they have been taken.
MOST_WAITING = 256 * 1024
#: Bytes that a pipe takes at once as soon as it takes any.
PIECE = select.PIPE_BUF
#: Seconds that a reader is given at the end.
LAST_SECONDS = 1.0


class PatientOutput:
    """Writes whole lines, or leaves whole lines out and says how many."""

    def __init__(self, descriptor: int, gap_line: Callable[[int], bytes]) -> None:
        """`gap_line` makes the line that tells of so many that are missing."""
        self._descriptor = descriptor
        self._gap_line = gap_line
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._waiting = b""
        self._missing = 0

    def write(self, lines: bytes = b"", seconds: float = 0.0) -> None:
        """Write lines, each with its end, and those that wait.

        Never raises. Waits for `seconds` at each piece.
        """
        self._send(seconds)
        if self._missing and not self._waiting:
            self._waiting, self._missing = self._gap_line(self._missing), 0
        if self._missing or len(self._waiting) > MOST_WAITING:
            self._missing += lines.count(b"\n")
        else:
            self._waiting += lines
        self._send(seconds)

    def finish(self) -> None:
        """Give a reader the time to take the last lines."""
        self.write(seconds=LAST_SECONDS)

    def _send(self, seconds: float) -> None:
        while self._waiting and self._poll.poll(seconds * 1000):
            try:
                sent = os.write(self._descriptor, self._waiting[:PIECE])
            except OSError:  # nobody is there to read it any more, or the disk is full
                return
            self._waiting = self._waiting[sent:]
