"""Free bytes and free inodes of a disk, and how much of both is kept in reserve.

A disk without free inodes is as full as one without free bytes: no file can be created on it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: Kept free by new work, for Redis's append-only file, uploads and the results of accepted jobs.
RESERVE_BYTES, RESERVE_INODES = 64 * 2**20, 512


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """Free space of a disk; `inodes` is None if its file system sets no limit (btrfs)."""

    bytes: int
    inodes: int | None
    capacity_bytes: int

    def shortage(self, needed_bytes: int = 0, needed_inodes: int = 0) -> str | None:
        """Return a sentence if this much and the reserve are not free, else None."""
        needed_bytes, needed_inodes = needed_bytes + RESERVE_BYTES, needed_inodes + RESERVE_INODES
        if self.bytes < needed_bytes:
            free, needed = self.bytes // 2**20, -(-needed_bytes // 2**20)
            return f"The disk has {free} MB free, but {needed} MB are needed."
        if self.inodes is not None and self.inodes < needed_inodes:
            return f"The disk has {self.inodes} free inodes, but {needed_inodes} are needed."
        return None


def free_space(folder: Path | None) -> FreeSpace | None:
    """Return the free space of the disk under `folder`; None if unknown."""
    if folder is None:
        return None
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    inodes = disk.f_favail if disk.f_files else None
    return FreeSpace(disk.f_bavail * disk.f_frsize, inodes, disk.f_blocks * disk.f_frsize)
