"""The size of the object store's folder."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

#: Files after which the walk rests, and for how many seconds: it must not take a core from the workers.
FILES_PER_BREATH, BREATH_SECONDS = 1000, 0.02
#: A walk may take this share of the time, at most.
WALK_SHARE = 0.02


class StorageUse:
    """One thread calls `step` every 30 s. With a remote store, `folder` is None."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._due = 0.0
        #: The bytes of all objects as of the last walk; None if unknown.
        self.used: int | None = None

    def step(self) -> None:
        """Walk the folder, unless the last walk took so long that it is not time yet."""
        started = time.monotonic()
        if self._folder is None or started < self._due:
            return
        self.used = folder_bytes(self._folder)
        ended = time.monotonic()
        self._due = ended + (ended - started) / WALK_SHARE


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below a folder; files that vanish meanwhile count nothing."""
    total = files = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118  # pathlib takes thrice the time
            files += 1
            if files % FILES_PER_BREATH == 0:
                time.sleep(BREATH_SECONDS)
    return total
