"""An NPY file, rows x features of numbers, read as a stream."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from services.api.rows.chunks import gather_chunks
from services.api.rows.npy_header import NpyHeader, read_npy_header
from services.api.rows.table import table_of
from shared.errors import UnreadableBodyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from services.api.rows.chunks import Piece
    from services.api.rows.row_spec import RowSpec


def read_npy(stream: BinaryIO, spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    """Read the matrix in chunks of float32, C-contiguous, `spec.chunk_rows` x features.

    NaN is missing, booleans are 1 and 0, and a category is given by its code. The stream must be seekable. Raises
    UnreadableBodyError, InvalidRowsError and TooManyRowsError.
    """
    return gather_chunks(_read_pieces(stream, spec), spec)


def _read_pieces(stream: BinaryIO, spec: RowSpec) -> Iterator[Piece]:
    header = read_npy_header(stream, spec)
    table = table_of(spec)
    columns = len(spec.features)
    start = stream.tell()
    _check_size(stream.seek(0, os.SEEK_END) - start, header, columns)
    for first in range(0, header.rows, spec.chunk_rows):
        rows = min(spec.chunk_rows, header.rows - first)
        read = _read_columns if header.fortran_order else _read_rows
        yield table.from_codes(read(stream, start, header, slice(first, first + rows), columns), first)


def _check_size(found: int, header: NpyHeader, columns: int) -> None:
    row_bytes = columns * header.dtype.itemsize
    if found < header.rows * row_bytes:
        raise UnreadableBodyError(
            f"The NPY file is cut off: its header promises {header.rows} rows, and it has bytes for "
            f"{found // row_bytes}. Send it again in full."
        )
    if found > header.rows * row_bytes:
        raise UnreadableBodyError(
            f"The NPY file goes on after the {header.rows} rows that its header promises: send a file that np.save wrote."
        )


def _read_rows(
    stream: BinaryIO, start: int, header: NpyHeader, rows: slice, columns: int
) -> NDArray[np.generic]:
    row_bytes = columns * header.dtype.itemsize
    stream.seek(start + rows.start * row_bytes)
    data = stream.read((rows.stop - rows.start) * row_bytes)
    return np.frombuffer(data, dtype=header.dtype).reshape(-1, columns)


def _read_columns(
    stream: BinaryIO, start: int, header: NpyHeader, rows: slice, columns: int
) -> NDArray[np.generic]:
    """Read a slice of each column, so that memory holds no more than these rows."""
    size = header.dtype.itemsize
    matrix = np.empty((rows.stop - rows.start, columns), dtype=header.dtype)
    for column in range(columns):
        stream.seek(start + (column * header.rows + rows.start) * size)
        matrix[:, column] = np.frombuffer(stream.read(len(matrix) * size), dtype=header.dtype)
    return matrix
