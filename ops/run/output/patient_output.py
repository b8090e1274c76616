"""supervisord's standard output: a slow reader, or none, cannot stop the appliance.

supervisord has one thread. While it waits for a reader it starts no worker again, and every program that
prints stands still with it.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

#: Seconds that the lines of one call may wait for a reader. After that lines are left out until somebody reads again.
PATIENCE_SECONDS = 1.0
#: Bytes that a pipe takes at once as soon as it takes any.
PIECE = select.PIPE_BUF


class PatientOutput:
    """Writes whole lines, or leaves whole lines out and says how many."""

    def __init__(self, descriptor: int, gap_line: Callable[[int], bytes]) -> None:
        """`gap_line` makes the line that tells of so many that are missing."""
        self._descriptor = descriptor
        self._gap_line = gap_line
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        #: The end of a line that was begun, and how many were left out after it.
        self._begun = b""
        self._missing = 0

    def write(self, lines: bytes) -> None:
        """Write lines, each with its end. Never raises, and waits for PATIENCE_SECONDS at most."""
        if not lines:
            return
        behind = bool(self._begun or self._missing)
        if behind:
            if not self._takes_some(0.0):
                self._missing += lines.count(b"\n")
                return
            lines = self._begun + (self._gap_line(self._missing) if self._missing else b"") + lines
        # A reader that could not keep up is not waited for again, or each call would cost a second.
        sent = self._send(lines, 0.0 if behind else PATIENCE_SECONDS)
        begun = bool(self._begun) if sent == 0 else lines[sent - 1 : sent] != b"\n"
        end = lines.find(b"\n", sent) + 1 if begun else sent
        self._begun = lines[sent:end]
        self._missing = lines.count(b"\n", end)

    def _send(self, lines: bytes, seconds: float) -> int:
        sent, deadline = 0, time.monotonic() + seconds
        while sent < len(lines) and self._takes_some(max(0.0, deadline - time.monotonic())):
            try:
                sent += os.write(self._descriptor, lines[sent : sent + PIECE])
            except OSError:  # nobody is there to read it any more, or the disk is full
                break
        return sent

    def _takes_some(self, seconds: float) -> bool:
        return bool(self._poll.poll(seconds * 1000))
