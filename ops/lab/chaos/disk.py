"""A disk of a trial's own, which may fill up and lose its power: ext4 in a file, by root."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ops.lab.trial_appliance import TrialError

#: FS_IOC_SHUTDOWN, and its flag for "write nothing any more, not even the journal" (linux/fs.h).
SHUTDOWN, WITHOUT_JOURNAL = 0x8004587D, 2
#: Seconds after which the file system writes its journal by itself: the appliance must ask for what it needs.
COMMIT_SECONDS = 3600
#: Seconds for the last process to close its files there.
UNMOUNT_SECONDS = 30.0


class TrialDisk:
    """Mounted at `mount`; what a program has not synced is lost in `cut_power`."""

    def __init__(self, folder: Path, megabytes: int, inodes: int) -> None:
        """Make and mount it in a folder. Raises OSError, with the reason, where that is impossible."""
        self._image, self.mount = folder / "disk.img", folder / "disk"
        self._hoard = self.mount / "hoard"
        self.mount.mkdir()
        with self._image.open("wb") as file:
            file.truncate(megabytes * 2**20)
        # No blocks are reserved for root: to everyone the disk is full at the same moment.
        _run("mkfs.ext4", "-q", "-m", "0", "-N", str(inodes), str(self._image))
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", f"loop,commit={COMMIT_SECONDS}", str(self._image), str(self.mount))

    def cut_power(self) -> None:
        """Lose what is not on the disk, and mount what is. Nothing may use it."""
        folder = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", WITHOUT_JOURNAL))
        finally:
            os.close(folder)
        self.unmount()
        self._mount()

    def sync(self) -> None:
        """Write all of it to the disk."""
        _run("sync", "--file-system", str(self.mount))

    def unmount(self) -> None:
        """Unmount it once no process uses it any more. Raises TrialError if one goes on."""
        deadline = time.monotonic() + UNMOUNT_SECONDS
        while True:
            try:
                return _run("umount", str(self.mount))
            except OSError as fault:
                if time.monotonic() > deadline:
                    subprocess.run(["umount", "-l", str(self.mount)], check=False)
                    raise TrialError(f"the trial's disk is still in use: {fault}") from fault
                time.sleep(0.1)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Leave no free byte for a while."""
        with self._hoarding():
            step = 2**30
            while step >= 4096:
                with (self._hoard / f"bytes-{step}").open("wb") as file, contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                step //= 4
            yield

    @contextlib.contextmanager
    def without_inodes(self) -> Iterator[None]:
        """Leave no free inode for a while."""
        with self._hoarding():
            folder = os.open(self._hoard, os.O_RDONLY)
            try:
                with contextlib.suppress(OSError):
                    for number in range(os.statvfs(self.mount).f_files):
                        os.mknod(str(number), dir_fd=folder)
            finally:
                os.close(folder)
            yield

    @contextlib.contextmanager
    def _hoarding(self) -> Iterator[None]:
        self._hoard.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(self._hoard)
            self.sync()  # freed blocks can be used again once the journal is written


def _run(*words: str) -> None:
    """Run a program. Raises OSError with what it says."""
    made = subprocess.run(
        words, capture_output=True, text=True, check=False
    )  # FileNotFoundError if it is missing
    if made.returncode != 0:
        raise OSError(f"{words[0]}: {made.stderr.strip()}")
