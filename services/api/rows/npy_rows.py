"""An NPY file, rows x features, read as a stream. Nothing is unpickled or preallocated."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from services.api.rows.chunks import Matrix, Piece, gather_chunks
from services.api.rows.faults import no_rows, quote, too_many_rows
from services.api.rows.row_spec import RowSpec
from shared.errors import InvalidRowsError, UnreadableBodyError

#: Bytes of a header, at most: a plain matrix needs 128.
_MAX_HEADER_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class _Matrix:
    """A matrix in a stream, from byte `start` on; column by column in Fortran order."""

    stream: BinaryIO
    start: int
    dtype: np.dtype[Any]
    rows: int
    columns: int
    fortran_order: bool

    def read(self, first: int, count: int) -> NDArray[Any]:
        """Read some rows, and hold no others in memory."""
        if not self.fortran_order:
            return self._read_values(first * self.columns, count * self.columns).reshape(-1, self.columns)
        matrix = np.empty((count, self.columns), dtype=self.dtype)
        for column in range(self.columns):
            matrix[:, column] = self._read_values(column * self.rows + first, count)
        return matrix

    def _read_values(self, first: int, count: int) -> NDArray[Any]:
        self.stream.seek(self.start + first * self.dtype.itemsize)
        return np.frombuffer(self.stream.read(count * self.dtype.itemsize), dtype=self.dtype)


def read_npy(stream: BinaryIO, spec: RowSpec) -> Iterator[Matrix]:
    """Read the matrix in chunks of float32, C-contiguous, `spec.chunk_rows` x features.

    NaN is missing, booleans are 1 and 0, and a category is given by its code. The stream must be seekable. Raises
    UnreadableBodyError, InvalidRowsError and TooManyRowsError.
    """
    return gather_chunks(_read_pieces(stream, spec), spec)


def _read_pieces(stream: BinaryIO, spec: RowSpec) -> Iterator[Piece]:
    matrix = _open_matrix(stream, spec)
    table = spec.table
    for first in range(0, matrix.rows, spec.chunk_rows):
        count = min(spec.chunk_rows, matrix.rows - first)
        yield table.from_codes(matrix.read(first, count))


def _open_matrix(stream: BinaryIO, spec: RowSpec) -> _Matrix:
    """Read and check the header, and the size of the values."""
    origin = stream.tell()
    head = io.BytesIO(stream.read(_MAX_HEADER_BYTES))
    shape, fortran_order, dtype = _read_header(head)
    _check_dtype(dtype)
    rows, columns = _check_shape(shape, spec)
    start = origin + head.tell()
    found = stream.seek(0, os.SEEK_END) - start
    row_bytes = columns * dtype.itemsize
    if found < rows * row_bytes:
        raise UnreadableBodyError(
            f"The NPY file is cut off: its header announces {rows} rows, and there are {found // row_bytes}. Send it "
            "again in full."
        )
    if found > rows * row_bytes:
        raise UnreadableBodyError(
            f"The NPY file has more bytes than the {rows} rows in its header: send one array, written by np.save."
        )
    return _Matrix(stream, start, dtype, rows, columns, fortran_order)


def _read_header(head: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    start = head.getvalue()
    if not start:
        raise UnreadableBodyError("The body is empty: send a file written by np.save.")
    if not start.startswith(np.lib.format.MAGIC_PREFIX):
        raise UnreadableBodyError("The body is not an NPY file: send a file written by np.save.")
    try:
        version = np.lib.format.read_magic(head)
        # Version 3 differs from 2 in names of fields, which a matrix of numbers has not.
        reader = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        return reader(head, max_header_size=_MAX_HEADER_BYTES)
    except (
        Exception
    ) as fault:  # NumPy parses the header as Python, and fails in many ways, even with SystemError
        raise UnreadableBodyError(
            "The header of the NPY file is damaged or cut off: write the file with np.save, and send it in full."
        ) from fault


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.kind in "fiub" and dtype.itemsize <= 8:
        return
    if dtype.hasobject:
        raise InvalidRowsError(
            "The array holds Python objects, which are never unpickled: send numbers, with codes for categories, "
            "as rows.astype(np.float32)."
        )
    what = "of a structured type" if dtype.kind == "V" else f"of type {quote(dtype.str)}"
    raise InvalidRowsError(
        f"The array is {what}: send an array of floats (of at most 64 bits), integers or booleans, with codes for "
        "categories."
    )


def _check_shape(shape: tuple[int, ...], spec: RowSpec) -> tuple[int, int]:
    features = len(spec.features)
    if len(shape) != 2:
        raise InvalidRowsError(
            f"The array has {len(shape)} dimensions, not 2: send rows.reshape(-1, {features}), rows x features."
        )
    rows, columns = map(int, shape)
    if rows < 0:
        raise UnreadableBodyError(
            f"The NPY header's shape {quote(shape)} is invalid: write the file with np.save."
        )
    if columns != features:
        raise InvalidRowsError(
            f"The array has {columns} columns, the model has {features} features: send a column for each, in the "
            "model's order."
        )
    if rows > spec.max_rows:
        raise too_many_rows(spec.max_rows)
    if not rows:
        raise no_rows()
    return rows, columns
