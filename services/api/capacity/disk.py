"""Whether the object store can take rows: room on the disk, and an answer at all."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

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
