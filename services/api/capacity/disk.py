"""Room on the disk for bodies and their rows, and whether the object store works."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Self
from weakref import WeakKeyDictionary

from shared import metrics
from shared.appliance.counters import Counters
from shared.disk import free_space
from shared.errors import BodyTooLargeError, ShapboxError, StorageFullError, StorageUnavailableError
from shared.objects.payloads import Payloads
from shared.settings import Settings
from shared.timing import TIMING

#: Free bytes that a local store needs for each byte of a body: the rows, and twice that for the values.
BYTES_PER_BODY_BYTE = 3
#: Bytes of a body that waits in memory, so that it needs no room on the disk.
SMALL_BODY = 64 * 1024

_ADVICE = "Delete jobs, send fewer rows at a time, or enlarge the disk."


def require_disk(settings: Settings, body_bytes: int) -> None:
    """Raise StorageFullError if a body's rows with their values would fill the local disk."""
    space = free_space(settings.local_objects_dir)
    if shortage := space and space.shortage(body_bytes * BYTES_PER_BODY_BYTE):
        raise StorageFullError(f"{shortage} This includes the values of the rows. {_ADVICE}")


class UploadDisk:
    """Room for bodies on the disk of temporary files, shared by all requests. Thread-safe."""

    def __init__(self, folder: Path, max_mb: int) -> None:
        self.max_mb = max_mb
        self._folder = folder
        self._lock = threading.Lock()
        #: Bytes that each body is still going to write, as long as anything holds its reservation.
        self._coming: WeakKeyDictionary[DiskReservation, int] = WeakKeyDictionary()

    def reserve(self, expected: int | None = None) -> DiskReservation:
        """Reserve room for a body of so many bytes, if that is known.

        Raises BodyTooLargeError, and StorageFullError before the reserve is used.
        """
        return DiskReservation(self, expected)

    def set_coming(self, reservation: DiskReservation, nbytes: int) -> None:
        """Note the bytes that a body will still write. Raises StorageFullError if too many."""
        with self._lock:
            self._coming[reservation] = nbytes
            space = free_space(self._folder)
            if shortage := space and space.shortage(sum(self._coming.values()), len(self._coming)):
                del self._coming[reservation]
                raise StorageFullError(f"{shortage} {_ADVICE}")

    def forget(self, reservation: DiskReservation) -> None:
        """Free what a reservation holds."""
        with self._lock:
            self._coming.pop(reservation, None)


class DiskReservation:
    """Room on the disk for one body, as a context manager that gives it back."""

    def __init__(self, disk: UploadDisk, expected: int | None) -> None:
        self._disk = disk
        self._expected = expected or 0
        self._taken = 0
        #: Such a body waits in memory.
        self._small = expected is not None and expected <= SMALL_BODY
        self.take(0)

    def take(self, nbytes: int) -> None:
        """Count bytes that are about to be written; those before are on the disk.

        Raises BodyTooLargeError, and StorageFullError with what is free before the reserve is used.
        """
        self._taken += nbytes
        if max(self._taken, self._expected) > self._disk.max_mb * 2**20:
            raise BodyTooLargeError(
                f"The body is larger than {self._disk.max_mb} MB (MAX_BODY_MB). Send the rows as several jobs."
            )
        if not self._small:
            self._disk.set_coming(self, max(nbytes, self._expected - self._taken + nbytes))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._disk.forget(self)


class StorageProbe:
    """Probes the store in the background, so that a health answer never waits for it."""

    def __init__(self, payloads: Payloads, counters: Counters) -> None:
        self._payloads = payloads
        self._counters = counters
        #: When the last probe ended, on the monotonic clock, and what was wrong.
        self._last: tuple[float, str | None] | None = None

    def refresh(self) -> None:
        """Probe now. A store that does not answer is a finding, not an error."""
        found = None
        try:
            self._payloads.probe()
        except ShapboxError as fault:
            found = str(fault)
            if isinstance(fault, StorageUnavailableError):  # not a full disk
                self._counters.add(metrics.STORAGE_FAULTS)
        self._last = (time.monotonic(), found)

    def fault(self) -> str | None:
        """Return what is wrong with the store, or None."""
        if self._last is None:
            return "not probed yet"
        at, found = self._last
        age = time.monotonic() - at
        if age > TIMING.storage_probe_max_age_seconds:
            return f"the store hangs: the last probe was {age:.0f} s ago"
        return found
