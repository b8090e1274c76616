"""Tells after each batch whether this process has outgrown its limit, though its PSS takes milliseconds to read.

What it shares with others changes slowly, so between two readings of the PSS the resident set, less what was shared
last, stands for it. A look that takes place only now and then would let a quick worker outgrow its limit by a lot.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from shared.memory import PROC, process_pss_bytes, process_resident_bytes

#: Seconds between two readings of the PSS, unless the process seems to have outgrown its limit.
PSS_SECONDS = 1.0


class OwnSize:
    """The size of this process beside its limit, in bytes."""

    def __init__(self, limit: int, proc: Path = PROC) -> None:
        self.limit = limit
        self._proc = proc
        self._shared = 0
        self._read_at = float("-inf")

    def outgrown(self) -> int | None:
        """Return the PSS if it is over the limit, else None."""
        pid = os.getpid()
        resident = process_resident_bytes(pid, self._proc)
        recent = time.monotonic() - self._read_at < PSS_SECONDS
        if resident <= self.limit or (recent and resident - self._shared <= self.limit):
            return None
        pss = process_pss_bytes(pid, self._proc)
        self._read_at = time.monotonic()
        self._shared = resident - pss
        return pss if pss > self.limit else None
