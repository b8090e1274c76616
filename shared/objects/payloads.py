"""Rows and SHAP values: `.npy` objects in an object store, one for each batch and side.

`jobs/JOB/input/000007.npy` holds batch 7's rows, `jobs/JOB/result/000007.npy` what the worker made of
them. `jobs/JOB/interactions/000007.npy` is there if the job has interactions. An object is written whole under its name or not at all, so that writing it twice changes nothing.
More arrays may stand behind the first one, each with its own header, as repeated calls of np.save on one file leave them.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError as ObstoreError
from obstore.store import LocalStore, from_url

from shared.errors import PayloadMissingError, SettingsError, StorageFullError, StorageUnavailableError
from shared.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: What S3, GCS and Azure say where it is not an object that is missing, but all of them.
BUCKET_MISSING = ("NoSuchBucket", "bucket does not exist", "ContainerNotFound")
#: Objects that one delete call names, at most.
DELETE_CHUNK = 500
#: Bytes that an array's header has, at most: ours have 128.
HEADER_BYTES = 1024
#: For one request to a remote store: its time, how many more tries it gets, and the time of all tries. A
#: worker must learn that the store is away long before BATCH_TIMEOUT_SECONDS makes it count as hung.
REMOTE_TIMEOUT, REMOTE_RETRIES, REMOTE_PATIENCE = "5s", 2, timedelta(seconds=12)

type Side = Literal["input", "result", "interactions"]
type Matrix = NDArray[np.float32]


class Payloads:
    """The rows and results of all jobs.

    Every method may raise StorageUnavailableError; those that write, StorageFullError as well.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    @classmethod
    def open(cls, settings: Settings) -> Payloads:
        """Open the store that the settings name; a local folder is made if it is not there.

        Nobody is called yet. Raises SettingsError if the address, or what the environment adds to it, is no use.
        """
        if settings.storage_url is None:
            return cls(LocalStore(settings.objects_dir, mkdir=True))
        if settings.storage_url.startswith("file://"):
            return cls(LocalStore(urlsplit(settings.storage_url).path, mkdir=True))
        try:
            store = from_url(
                settings.storage_url,
                # Given here, these replace what AWS_ALLOW_HTTP and the like say. Whoever names an endpoint of
                # http:// has said it.
                client_options={"timeout": REMOTE_TIMEOUT, "allow_http": True},
                retry_config={"max_retries": REMOTE_RETRIES, "retry_timeout": REMOTE_PATIENCE},
            )
        except (ObstoreError, ValueError) as fault:
            raise SettingsError(
                f"STORAGE_URL cannot be used ({_first_line(fault)}): see docs/operations.md for what each kind of "
                "store needs beside it."
            ) from fault
        return cls(store)

    def put(self, job_id: str, side: Side, batch: int, matrix: Matrix, *behind: NDArray[Any]) -> None:
        """Store `matrix` (float32, C order) as the batch's input or result, with arrays behind it, atomically."""
        import numpy as np  # noqa: PLC0415  # 6 MB, which the monitor need not pay: it handles no matrix

        parts: list[bytes | memoryview] = []
        for array in (np.asarray(matrix, dtype=np.float32), *behind):
            # As they lie in memory: to copy a large batch takes longer than to store it.
            flat = np.ascontiguousarray(array).reshape(-1)
            parts += (_header(array.dtype, array.shape), memoryview(flat.view(np.uint8)))
        with _storage_needed():
            obstore.put(self._store, _path(job_id, side, batch), parts)

    def get(self, job_id: str, side: Side, batch: int) -> Matrix:
        """Return what `put` stored, read-only.

        Raises PayloadMissingError if there is no such object.
        """
        path = _path(job_id, side, batch)
        matrix, _ = _read_array(self._get(path), 0, path)
        return matrix

    def get_behind(self, job_id: str, side: Side, batch: int, shape: tuple[int, ...]) -> list[NDArray[Any]]:
        """Return the arrays behind a float32 matrix of this shape, without reading that; none if there are none.

        Raises PayloadMissingError if there is no such object.
        """
        path = _path(job_id, side, batch)
        # From the matrix's last byte on: nobody has less than that, and a range of nothing is an error.
        last = _header_bytes(shape) + math.prod(shape) * 4 - 1
        data, place, arrays = self._get(path, {"range": {"offset": last}}), 1, []
        while place < len(data):
            array, place = _read_array(data, place, path)
            arrays.append(array)
        return arrays

    def get_spans(
        self, job_id: str, side: Side, batch: int, shape: tuple[int, ...], spans: Sequence[range]
    ) -> list[NDArray[np.float32]]:
        """Return spans of a float32 matrix of this shape, each by its numbers' places, without reading the rest.

        Raises PayloadMissingError if there is no such object, or a shorter one.
        """
        import numpy as np  # noqa: PLC0415  # as above

        path, begin = _path(job_id, side, batch), _header_bytes(shape)
        try:
            with _storage_needed():
                found = obstore.get_ranges(
                    self._store,
                    path,
                    starts=[begin + 4 * span.start for span in spans],
                    lengths=[4 * len(span) for span in spans],
                )
        except FileNotFoundError:
            raise PayloadMissingError(f"{path} is not in the object store") from None
        arrays = [np.frombuffer(memoryview(part), dtype=np.float32) for part in found]
        if [len(array) for array in arrays] != [len(span) for span in spans]:
            raise PayloadMissingError(f"{path} is shorter than a matrix of {shape}")
        return arrays

    def _get(self, path: str, options: Any = None) -> memoryview:
        try:
            with _storage_needed():
                return memoryview(obstore.get(self._store, path, options=options).bytes())
        except FileNotFoundError:
            raise PayloadMissingError(f"{path} is not in the object store") from None

    def delete_job(self, job_id: str) -> int:
        """Delete all objects of a job and return how many there were."""
        prefix = f"jobs/{job_id}/"
        with _storage_needed():
            paths = [entry["path"] for chunk in obstore.list(self._store, prefix) for entry in chunk]
            for some in batched(paths, DELETE_CHUNK):  # the last may be short
                with contextlib.suppress(FileNotFoundError):  # someone else deletes the same job
                    obstore.delete(self._store, list(some))
            self._remove_folders(prefix)
        return len(paths)

    def job_ids(self) -> list[str]:
        """Return the ids of all jobs that have objects."""
        with _storage_needed():
            listing = obstore.list_with_delimiter(self._store, "jobs/")
        return [prefix.strip("/").split("/")[1] for prefix in listing["common_prefixes"]]

    def probe(self) -> None:
        """Write, read and delete a small object: whether the store can be worked with."""
        with _storage_needed():
            obstore.put(self._store, "probe", b"shapbox")
            obstore.delete(self._store, "probe")

    def _remove_folders(self, prefix: str) -> None:
        """Remove what a local store leaves: empty folders, and files of writes that a kill broke off."""
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            # A result that comes in just now is lost or left: nobody asks for it, and the sweeper returns.
            shutil.rmtree(Path(self._store.prefix) / prefix, ignore_errors=True)


def _path(job_id: str, side: Side, batch: int) -> str:
    return f"jobs/{job_id}/{side}/{batch:06d}.npy"


def _lacks_bucket(fault: Exception) -> bool:
    """Return whether it is not an object that is missing, but the whole bucket: the set-up's fault, not a job's."""
    return any(words in str(fault) for words in BUCKET_MISSING)


def _first_line(fault: Exception) -> str:
    """Return what obstore says for people: below it stand its own structures, over dozens of lines."""
    return str(fault).partition("\n")[0]


def _header_bytes(shape: tuple[int, ...]) -> int:
    """Return how long the header of a float32 matrix is."""
    import numpy as np  # noqa: PLC0415  # as above

    return len(_header(np.dtype(np.float32), shape))


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    import numpy as np  # noqa: PLC0415  # as above

    header = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def _read_array(data: memoryview, start: int, path: str) -> tuple[NDArray[Any], int]:
    """Return the array that begins at `start`, read-only, and where it ends. Raises PayloadMissingError if it is none."""
    import numpy as np  # noqa: PLC0415  # as above

    buffer = io.BytesIO(data[start : start + HEADER_BYTES])
    try:
        version = np.lib.format.read_magic(buffer)
        shape, _, dtype = np.lib.format.read_array_header_1_0(buffer)
        begin, count = start + buffer.tell(), math.prod(shape)
        array = np.frombuffer(data, dtype=dtype, count=count, offset=begin).reshape(shape)
    except ValueError as fault:
        raise PayloadMissingError(f"{path} is no matrix that Shapbox wrote") from fault
    if version != (1, 0):
        raise PayloadMissingError(f"{path} is no matrix that this Shapbox wrote: it is of another version")
    return array, begin + count * dtype.itemsize


@contextlib.contextmanager
def _storage_needed() -> Iterator[None]:
    try:
        yield
    except (ObstoreError, OSError) as fault:
        if _lacks_bucket(fault):
            raise StorageUnavailableError(
                "The object store has no such bucket: make the one that STORAGE_URL names, or name another."
            ) from fault
        if isinstance(fault, FileNotFoundError):
            raise
        if getattr(fault, "errno", None) == errno.ENOSPC or "No space left" in str(fault):
            raise StorageFullError(
                "The disk is full, so the rows were not taken. Delete jobs or enlarge the disk."
            ) from fault
        raise StorageUnavailableError(f"The object store does not answer: {_first_line(fault)}") from fault
