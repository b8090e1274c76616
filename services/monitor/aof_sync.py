"""Brings the embedded Redis's append-only file to the disk each second, in Redis's stead.

Redis's own `appendfsync everysec` holds a write back while an fsync runs, up to two seconds after it has
answered it: a kill -9 in that moment loses an accepted job. With `appendfsync no` each answer is given after
its write has reached the kernel, which keeps it whatever becomes of Redis; what is left to do, against a
power cut, is this.
"""

from __future__ import annotations

import os
from pathlib import Path

#: Redis's folder of the append-only file's parts, in its working folder.
FOLDER = "appendonlydir"


class AofSync:
    """One thread calls `step`."""

    def __init__(self, redis_dir: Path) -> None:
        self._folder = redis_dir / FOLDER
        self._synced: tuple[str, int] = ("", -1)

    def step(self) -> None:
        """Sync the file that Redis appends to, if it has grown. Raises OSError if the disk fails."""
        newest = self._newest()
        if newest is None:
            return
        try:
            descriptor = os.open(newest, os.O_RDONLY)
        except FileNotFoundError:  # a rewrite has just removed it
            return
        try:
            state = (newest.name, os.fstat(descriptor).st_size)
            if state != self._synced:
                os.fdatasync(descriptor)
                self._synced = state
        finally:
            os.close(descriptor)

    def _newest(self) -> Path | None:
        """Return the increment with the highest number: NAME.NUMBER.incr.aof."""
        increments = [path for path in self._folder.glob("*.incr.aof") if _number(path) >= 0]
        return max(increments, key=_number, default=None)


def _number(path: Path) -> int:
    number = path.name.split(".")[-3]
    return int(number) if number.isdecimal() else -1
