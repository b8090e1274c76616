"""The object store: a local folder, or a bucket of S3, GCS or Azure.

Objects are written whole or not at all. A job has either one object, `jobs/ID.npy`, or a folder `jobs/ID/` of them.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import shutil
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import obstore
from obstore.exceptions import BaseError as ObstoreError
from obstore.store import LocalStore, from_url

from shared.disk import free_space
from shared.errors import PayloadMissingError, SettingsError, StorageFullError, StorageUnavailableError
from shared.settings import Durability, Settings
from shared.synced_files import write_synced
from shared.timing import TIMING

if TYPE_CHECKING:
    from obstore.store import ClientConfig

#: The messages of S3, GCS and Azure when the whole bucket is missing, not an object.
BUCKET_MISSING = ("NoSuchBucket", "bucket does not exist", "ContainerNotFound")
#: The messages of a folder, S3, GCS and Azure when an object ends before a requested range.
TOO_SHORT = ("range was invalid", "Invalid range", "InvalidRange", "status 416")
#: The bytes of a probe.
PROBE = b"shapbox"
#: Objects per delete request, at most.
DELETE_CHUNK = 500
#: Numbers of a job's unfinished files (`ID.npy#1` and on) that are always tried, since kills may have left gaps, and the
#: seconds after which such a file is no write in progress.
STAGED_FILES, STAGED_SECONDS = 4, 60.0
#: Further tries of a request to a remote store, and seconds after which the api begins none.
REMOTE_RETRIES, RETRY_SECONDS = 2, 0.5
#: Seconds that the api gives a large answer that keeps coming.
TRANSFER_SECONDS = 60


class ObjectStore:
    """Methods may raise StorageUnavailableError; those that write, StorageFullError as well."""

    def __init__(self, store: Any, *, synced: bool = False) -> None:
        """Use a store of obstore; `synced`: files are on the disk before a write returns."""
        self._store = store
        self._synced = synced
        local = isinstance(store, LocalStore) and store.prefix is not None
        self._folder = Path(store.prefix) if local else None

    @classmethod
    def open(cls, settings: Settings, *, patient: bool = True) -> Self:
        """Open the store of the settings without connecting; create a local folder if missing.

        `patient`: nobody waits for a remote store's answer, as in the api. Raises SettingsError if STORAGE_URL or its environment variables are invalid.
        """
        if (folder := settings.local_objects_dir) is not None:
            synced = settings.durability is Durability.POWER
            return cls(LocalStore(folder, mkdir=True), synced=synced)
        assert settings.storage_url is not None
        retries = TIMING.storage_patience_seconds if patient else RETRY_SECONDS
        try:
            store = from_url(
                settings.storage_url,
                client_options=_client_options(patient=patient),
                retry_config={"max_retries": REMOTE_RETRIES, "retry_timeout": timedelta(seconds=retries)},
            )
        except (ObstoreError, ValueError) as fault:
            raise SettingsError(
                f"STORAGE_URL cannot be used ({_first_line(fault)}). docs/scale-out.md lists the settings that "
                "each kind of store needs."
            ) from fault
        return cls(store)

    def write(self, path: str, parts: Sequence[bytes | memoryview]) -> None:
        """Write an object atomically."""
        with self._access(path):
            if self._synced and self._folder is not None:
                write_synced(self._folder, path, parts)
            else:
                obstore.put(self._store, path, list(parts))

    def read(self, path: str, start: int = 0) -> memoryview:
        """Return an object's bytes from `start`. Raises PayloadMissingError if it does not exist."""
        options: Any = {"range": {"offset": start}} if start else None
        with self._access(path):
            return memoryview(obstore.get(self._store, path, options=options).bytes())

    def read_start(self, path: str, size: int) -> tuple[memoryview, int]:
        """Return up to `size` first bytes of an object, and how many it has.

        Raises PayloadMissingError if it does not exist or is empty.
        """
        with self._access(path):
            found = obstore.get(self._store, path, options={"range": (0, size)})
            return memoryview(found.bytes()), found.meta["size"]

    def read_ranges(self, path: str, ranges: Sequence[range]) -> list[memoryview]:
        """Return ranges of an object's bytes, which must lie within it: obstore panics at others.

        Raises PayloadMissingError if it does not exist.
        """
        with self._access(path):
            found = obstore.get_ranges(
                self._store,
                path,
                starts=[some.start for some in ranges],
                lengths=[len(some) for some in ranges],
            )
        return [memoryview(part) for part in found]

    def delete_job(self, job_id: str) -> None:
        """Delete all objects of a job, if there are any."""
        with self._access():
            if self._folder is not None:
                _delete_files(self._folder / "jobs" / job_id)
                return
            listed = [
                entry["path"] for some in obstore.list(self._store, f"jobs/{job_id}/") for entry in some
            ]
            for some in batched(listed, DELETE_CHUNK):  # the last may be short
                self._delete(some)
            self._delete([f"jobs/{job_id}.npy"])

    def job_ids(self) -> list[str]:
        """Return the ids of all jobs that have objects, sorted."""
        with self._access():
            if self._folder is not None:
                # Read directly: obstore does not list unfinished files (`ID.npy#1`), which must be swept, too.
                jobs = self._folder / "jobs"
                names = [path.name for path in jobs.iterdir()] if jobs.exists() else []
            else:
                listing = obstore.list_with_delimiter(self._store, "jobs/")
                paths = [*listing["common_prefixes"], *(entry["path"] for entry in listing["objects"])]
                names = [path.strip("/").split("/")[1] for path in paths]
        return sorted({name.partition(".")[0] for name in names})

    def probe(self) -> None:
        """Write, read and delete a small object."""
        with self._access():
            obstore.put(self._store, "probe", PROBE)
            with contextlib.suppress(FileNotFoundError):  # another process is probing, too
                if obstore.get(self._store, "probe").bytes() != PROBE:
                    raise StorageUnavailableError("The object store returned other bytes than were written.")
                obstore.delete(self._store, "probe")

    def _delete(self, paths: Sequence[str]) -> None:
        """Delete objects of which some may be missing."""
        try:
            obstore.delete(self._store, list(paths))
        except FileNotFoundError:
            # GCS and Azure report a missing object, here one that another process deleted, and obstore then leaves the rest.
            for path in paths if len(paths) > 1 else ():
                self._delete([path])

    @contextlib.contextmanager
    def _access(self, path: str | None = None) -> Iterator[None]:
        """Turn failures into our errors; with `path`, a missing object into PayloadMissingError."""
        try:
            yield
        except (ObstoreError, OSError) as fault:
            if any(words in str(fault) for words in BUCKET_MISSING):
                raise StorageUnavailableError(
                    "The bucket does not exist. Create the one that STORAGE_URL names, or name another one."
                ) from fault
            if isinstance(fault, FileNotFoundError) and path is not None:
                raise PayloadMissingError(f"Object {path} is not in the object store.") from None
            if path is not None and any(words in str(fault) for words in TOO_SHORT):
                raise PayloadMissingError(f"Object {path} is shorter than it should be.") from fault
            if getattr(fault, "errno", None) == errno.ENOSPC or "No space left" in str(fault):
                space = free_space(self._folder)
                what = "has no free inodes" if space and space.inodes == 0 else "is full"
                raise StorageFullError(
                    f"The disk {what}, so nothing was stored. Delete jobs or enlarge the disk."
                ) from fault
            raise StorageUnavailableError(f"The object store failed: {_first_line(fault)}") from fault


def _delete_files(folder: Path) -> None:
    """Delete a job's folder or file, with the unfinished files of killed writers."""
    shutil.rmtree(folder, onexc=_only_missing)
    folder.with_suffix(".npy").unlink(missing_ok=True)
    for number in itertools.count(1):
        staged = folder.with_suffix(f".npy#{number}")
        try:
            if staged.stat().st_mtime < time.time() - STAGED_SECONDS:
                staged.unlink()
        except FileNotFoundError:
            if number >= STAGED_FILES:
                return


def _only_missing(_function: Any, _path: str, fault: BaseException) -> None:
    """Ignore a concurrent deletion, or a late result, which the sweeper finds."""
    if not isinstance(fault, OSError) or fault.errno not in {errno.ENOENT, errno.ENOTEMPTY}:
        raise fault


def _first_line(fault: Exception) -> str:
    """Return obstore's message without the dozens of lines of its own structures."""
    return str(fault).partition("\n")[0]


def _client_options(*, patient: bool) -> ClientConfig:
    """Return the options of one try: impatience is with silence, not with large objects."""
    # This replaces AWS_ALLOW_HTTP and the like: an endpoint of http:// is permission enough.
    options: ClientConfig = {"allow_http": True}
    if patient:
        return {**options, "timeout": f"{TIMING.storage_try_seconds}s"}
    silence = f"{TIMING.storage_answer_seconds}s"
    limits: ClientConfig = {"connect_timeout": silence, "read_timeout": silence}
    return {**options, **limits, "timeout": f"{TRANSFER_SECONDS}s"}
