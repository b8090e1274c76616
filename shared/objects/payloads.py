"""The rows and results of jobs, as `.npy` arrays in the object store.

In a local store, a small job is one object, `jobs/JOB.npy`: its rows, then, once it has run, its result and interactions. One
small file takes one inode and one block of the disk, a folder of files at least five of each. Any other job, and every job in a
remote store, has an object for each batch and side: `jobs/JOB/input/000007.npy`, `jobs/JOB/result/000007.npy` (the batch's
summary follows the values) and, if the job has interactions, `jobs/JOB/interactions/000007.npy`. Every array has its own header,
as repeated np.save calls write it. A bucket has no inodes, and GCS allows one write per second of the same object.

A header ends with a comment, the checksum of the array: `# 0123abcd`. NumPy and earlier versions of Shapbox ignore it, and
arrays of earlier versions have none. It is the CRC-32 of the header before it and of the CRC-32 of each 64 KB of the array. An
object of interactions has these after the array, as a second one: so spans of it are checked without reading the rest.

Jobs of one batch are found in both layouts: an earlier version, or another SMALL_BYTES, may have stored them otherwise.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import re
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shared.errors import PayloadMissingError
from shared.explanation import Explanation, Matrix
from shared.jobs.document import Job
from shared.objects.object_store import ObjectStore

#: A local store keeps a job of one batch as one object if its arrays together are no larger than this.
SMALL_BYTES = 64 * 1024
FLOAT32 = np.dtype(np.float32)
#: Bytes of an array that have a CRC-32 of their own.
CHECKED_BYTES = 64 * 1024
_CHECKS = np.dtype("<u4")
#: An array's header: its length, type, shape, and checksum.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '(<[fu][48])', 'fortran_order': False, 'shape': \((\d{1,15}(?:, \d{1,15})*),?\), \} *"
    rb"(?:# ([0-9a-f]{8}))?\n",
    re.DOTALL,
)
#: Bytes of a header that its checksum takes: the comment and the line end.
_CHECKSUM_BYTES = 11

type Side = Literal["input", "result", "interactions"]

#: The order of a small job's arrays.
SIDES: tuple[Side, ...] = ("input", "result", "interactions")


def is_small(job: Job) -> bool:
    """Return whether one object is enough, by what never changes in the job's document."""
    numbers = job.features + Explanation.numbers_of(job.outputs, job.features)
    if job.interactions is not None:
        numbers += job.interactions.numbers(job.features, job.outputs)
    return job.batches == 1 and job.rows * numbers * FLOAT32.itemsize <= SMALL_BYTES


class Payloads(ObjectStore):
    """Writing is idempotent. Readers raise PayloadMissingError for a missing or damaged object."""

    def put_rows(self, job: Job, batch: int, rows: Matrix) -> None:
        """Store a batch's rows, (rows, features). The job must know whether it has a second batch."""
        path = _small_path(job) if self._makes_one_object(job) else _path(job, "input", batch)
        self.write(path, encoded(rows))

    def put_result(
        self,
        job: Job,
        batch: int,
        rows: Matrix,
        explanation: Explanation,
        *,
        interactions: Matrix | None = None,
        summary: Sequence[NDArray[Any]] = (),
    ) -> None:
        """Store a result. A reader that finds it also finds the interactions."""
        pairs = [] if interactions is None else [interactions]
        if self._makes_one_object(job):
            self.write(_small_path(job), encoded(rows, explanation.array, *pairs))
            return
        for array in pairs:
            self.write(_path(job, "interactions", batch), encoded(array, _block_checks(_bytes_of(array))))
        self.write(_path(job, "result", batch), encoded(explanation.array, *summary))

    def put_completed(self, job: Job, rows: Matrix, explanation: Explanation) -> None:
        """Store rows and explanation of a job of one batch that has run already."""
        if not self._makes_one_object(job):
            self.put_rows(job, 0, rows)
        self.put_result(job, 0, rows, explanation)

    def rows(self, job: Job, batch: int) -> Matrix:
        """Return a batch's rows, read-only: (rows, features)."""
        return self._read_array(job, "input", batch, (len(job.rows_of(batch)), job.features))

    def result(self, job: Job, batch: int) -> Explanation:
        """Return a batch's explanation, read-only."""
        return Explanation(self._read_array(job, "result", batch, _result_shape(job, batch)))

    def summary_arrays(self, job: Job, batch: int) -> list[NDArray[Any]]:
        """Return the arrays of a batch's summary without reading the values; [] if there is none."""
        path, shape = _path(job, "result", batch), _result_shape(job, batch)
        # From the last byte of the values on: requesting an empty range would be an error.
        last = len(_header(FLOAT32, shape)) + math.prod(shape) * FLOAT32.itemsize - 1
        return _decoded(self.read(path, last)[1:], path)

    def interaction_spans(self, job: Job, batch: int, spans: Sequence[range]) -> list[Matrix]:
        """Return spans of a batch's interactions, given by index, without reading the rest."""
        assert job.interactions is not None
        shape = job.interactions.shape(len(job.rows_of(batch)), job.features, job.outputs)
        try:
            return self._read_spans(_path(job, "interactions", batch), shape, spans)
        except PayloadMissingError:  # a small job's interactions are in its one object
            if job.batches > 1:
                raise
            numbers = self._read_array(job, "interactions", batch, shape).reshape(-1)
            return [numbers[span.start : span.stop] for span in spans]

    def _read_spans(self, path: str, shape: tuple[int, ...], spans: Sequence[range]) -> list[Matrix]:
        """Return spans of an array, of which whole blocks are read and checked."""
        begin, size = len(_header(FLOAT32, shape)), FLOAT32.itemsize
        end = begin + size * math.prod(shape)
        head, length = self.read_start(path, begin)
        header = _HEADER.fullmatch(head)
        if header is None or header[0][:-_CHECKSUM_BYTES] != _header(FLOAT32, shape)[:-_CHECKSUM_BYTES]:
            raise PayloadMissingError(f"Object {path} is damaged, or no array of shape {shape}.")
        blocks = [_blocks_of(range(size * span.start, size * span.stop), end - begin) for span in spans]
        wanted = [range(begin + some.start, begin + some.stop) for some in blocks]
        if header[4]:  # not of an earlier version
            count = -(-(end - begin) // CHECKED_BYTES)
            first = end + len(_header(_CHECKS, (count,)))
            wanted.append(range(first, first + count * _CHECKS.itemsize))
        if wanted[-1].stop > length:
            raise PayloadMissingError(f"Object {path} is damaged: it has {length} bytes, too few.")
        parts = self.read_ranges(path, wanted)
        if header[4]:
            checks = parts.pop()
            _verify(header, checks, path)
            known = np.frombuffer(checks, dtype=_CHECKS)
            for some, part in zip(blocks, parts, strict=True):
                own, at = _block_checks(part), some.start // CHECKED_BYTES
                if not np.array_equal(own, known[at : at + len(own)]):
                    raise _damaged(path)
        return [
            np.frombuffer(part, dtype=FLOAT32, count=len(span), offset=size * span.start - some.start)
            for span, some, part in zip(spans, blocks, parts, strict=True)
        ]

    def _read_array(self, job: Job, side: Side, batch: int, shape: tuple[int, ...]) -> Matrix:
        data, path, place = self._find(job, side, batch)
        arrays = _decoded(data, path)
        if len(arrays) <= place:
            raise PayloadMissingError(f"Object {path} does not contain the job's {side}.")
        if arrays[place].shape != shape:
            raise PayloadMissingError(f"Object {path} has shape {arrays[place].shape} instead of {shape}.")
        return arrays[place]

    def _find(self, job: Job, side: Side, batch: int) -> tuple[memoryview, str, int]:
        """Return the object with one side of a batch, its path, and the number of the array."""
        in_folder = _path(job, side, batch)
        places = [(in_folder, 0)]
        if job.batches == 1:
            places.insert(0 if self._makes_one_object(job) else 1, (_small_path(job), SIDES.index(side)))
        for path, place in places:
            with contextlib.suppress(PayloadMissingError):
                return self.read(path), path, place
        raise PayloadMissingError(f"Object {in_folder} is not in the object store.")

    def _makes_one_object(self, job: Job) -> bool:
        """Return whether a job is stored as one object."""
        return self._folder is not None and is_small(job)


def _small_path(job: Job) -> str:
    return f"jobs/{job.id}.npy"


def _path(job: Job, side: Side, batch: int) -> str:
    return f"jobs/{job.id}/{side}/{batch:06d}.npy"


def _result_shape(job: Job, batch: int) -> tuple[int, int, int]:
    return Explanation.shape_of(len(job.rows_of(batch)), job.outputs, job.features)


@functools.lru_cache(maxsize=256)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return an array's header, with blanks in place of the checksum."""
    header = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def encoded(matrix: Matrix, *others: NDArray[Any]) -> list[bytes | memoryview]:
    """Return an object's parts without copying: that takes longer than storing a large batch."""
    parts: list[bytes | memoryview] = []
    for array in (np.asarray(matrix, dtype=FLOAT32), *others):
        header, content = _header(array.dtype, array.shape)[:-_CHECKSUM_BYTES], _bytes_of(array)
        parts += (header + b"# %08x\n" % _checksum(header, _block_checks(content).data), content)
    return parts


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def _block_checks(content: memoryview) -> NDArray[np.uint32]:
    """Return the CRC-32 of each block, the last of which may be short."""
    starts = range(0, len(content), CHECKED_BYTES)
    return np.array([zlib.crc32(content[at : at + CHECKED_BYTES]) for at in starts], dtype=_CHECKS)


def _checksum(header: bytes, checks: memoryview) -> int:
    return zlib.crc32(checks, zlib.crc32(header))


def _blocks_of(span: range, size: int) -> range:
    """Return the whole blocks that hold a span of bytes, up to the array's `size`."""
    begin = span.start // CHECKED_BYTES * CHECKED_BYTES
    return range(begin, min(-(-span.stop // CHECKED_BYTES) * CHECKED_BYTES, size))


def _verify(header: re.Match[bytes], checks: memoryview, path: str) -> None:
    """Raise PayloadMissingError unless a header with these checks has its checksum."""
    if _checksum(header[0][:-_CHECKSUM_BYTES], checks) != int(header[4], 16):
        raise _damaged(path)


def _decoded(data: memoryview, path: str) -> list[NDArray[Any]]:
    """Return an object's arrays, read-only and checked."""
    arrays: list[NDArray[Any]] = []
    place = 0
    while place < len(data):
        header = _HEADER.match(data, place)
        if header is None or len(header[0]) != 10 + int.from_bytes(header[1], "little"):
            raise _damaged(path)
        dtype, shape = np.dtype(header[2].decode()), tuple(map(int, header[3].split(b",")))
        begin, end = header.end(), header.end() + math.prod(shape) * dtype.itemsize
        if end > len(data):
            raise _damaged(path)
        content = data[begin:end]
        if header[4]:
            _verify(header, _block_checks(content).data, path)
        arrays.append(np.frombuffer(content, dtype=dtype).reshape(shape))
        place = end
    return arrays


def _damaged(path: str) -> PayloadMissingError:
    return PayloadMissingError(f"Object {path} is damaged: it is no array that Shapbox wrote.")
