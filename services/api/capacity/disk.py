"""Whether the object store can take rows: room on the disk, and an answer at all."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from shared.disk import free_space
from shared.errors import ShapboxError, StorageFullError
from shared.objects.payloads import Payloads
from shared.settings import Settings

#: Free bytes that a local store needs for each byte of a body: the rows, and twice that for the values.
BYTES_PER_BODY_BYTE = 3
#: Bytes that always stay free on the disk: Redis's append-only file lives there too.
RESERVE_BYTES = 64 * 2**20
#: Seconds between two probes of the store, and the age at which a probe no longer counts.
PROBE_SECONDS, PROBE_MAX_AGE = 5.0, 75.0


def local_folder(settings: Settings) -> Path | None:
    """Return the folder of a local object store; None for a remote one."""
    if settings.storage_url is None:
        return settings.objects_dir
    if settings.storage_url.startswith("file://"):
        return Path(urlsplit(settings.storage_url).path)
    return None


def free_bytes(settings: Settings) -> int | None:
    """Return what a local store's disk has left; None for a remote store, or if it cannot be told."""
    folder = local_folder(settings)
    try:
        return None if folder is None else shutil.disk_usage(folder).free
    except OSError:
        return None


def require_disk(settings: Settings, body_bytes: int) -> None:
    """Raise StorageFullError if the rows of a body of this size would fill a local store's disk."""
    free = free_bytes(settings)
    needed = body_bytes * BYTES_PER_BODY_BYTE + RESERVE_BYTES
    if free is not None and free < needed:
        raise StorageFullError(
            f"The disk has {free / 2**20:.0f} MB left, and these rows with their values may need "
            f"{needed / 2**20:.0f} MB. Delete jobs, send fewer rows at a time, or enlarge the disk."
        )


class UploadDisk:
    """Room for the bodies that come in, on the disk of temporary files, shared by all requests. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        #: Bytes that each open reservation is still going to write.
        self._coming: dict[DiskReservation, int] = {}

    def reserve(self) -> DiskReservation:
        """Return a reservation for one body, which starts with nothing."""
        return DiskReservation(self)

    def set_coming(self, reservation: DiskReservation, nbytes: int) -> None:
        """Note what a reservation is going to write. Raises StorageFullError if all together use up the reserve."""
        with self._lock:
            before = self._coming.get(reservation)
            self._coming[reservation] = nbytes
            space = free_space(self._folder)
            shortage = space and space.shortage(sum(self._coming.values()), len(self._coming))
            if shortage and before is None:
                del self._coming[reservation]
        if shortage:
            raise StorageFullError(f"{shortage} Delete jobs, send fewer rows at a time, or enlarge the disk.")

    def forget(self, reservation: DiskReservation) -> None:
        """Free what a reservation holds."""
        with self._lock:
            self._coming.pop(reservation, None)


class DiskReservation:
    """Room on the disk for one body, as a context manager that gives it back."""

    def __init__(self, disk: UploadDisk) -> None:
        self._disk = disk

    def take(self, nbytes: int) -> None:
        """Reserve room for `nbytes` that are about to be written; what was taken before counts as written.

        Raises StorageFullError, with the number of bytes or inodes that are free, before the reserve is used.
        """
        self._disk.set_coming(self, nbytes)

    def release(self) -> None:
        """Give the room back: the body is stored elsewhere, or gone."""
        self._disk.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()


@dataclass(frozen=True, slots=True)
class Probe:
    """What a probe found: `fault` is None if all was well; `at` is on the monotonic clock."""

    at: float
    fault: str | None


class StorageProbe:
    """Probes the store in the background, so that a health answer never waits for it."""

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        self._last: Probe | None = None

    def refresh(self) -> None:
        """Probe now. A store that does not answer is a finding, not an error."""
        try:
            self._payloads.probe()
        except ShapboxError as fault:
            self._last = Probe(time.monotonic(), str(fault))
        else:
            self._last = Probe(time.monotonic(), None)

    def fault(self) -> str | None:
        """Return what is wrong with the store, or None."""
        if self._last is None:
            return "not probed yet"
        age = time.monotonic() - self._last.at
        if age > PROBE_MAX_AGE:
            return f"the last probe, {age:.0f} s ago, has had no successor: the store hangs"
        return self._last.fault
