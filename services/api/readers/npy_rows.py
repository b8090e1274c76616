"""An NPY file, rows x features of float32 or float64, read as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from services.api.readers.chunks import Piece, gather_chunks
from services.api.readers.npy_header import read_npy_header
from shared.errors import UnreadableBodyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from services.api.readers.row_spec import RowSpec


def read_npy(stream: BinaryIO, spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    """Read the matrix in chunks of float32, C-contiguous, `spec.chunk_rows` x features. NaN is missing.

    Raises UnreadableBodyError, InvalidRowsError and TooManyRowsError.
    """
    return gather_chunks(_read_pieces(stream, spec), spec)


def _read_pieces(stream: BinaryIO, spec: RowSpec) -> Iterator[Piece]:
    header = read_npy_header(stream, spec)
    columns = len(spec.features)
    row_bytes = columns * header.dtype.itemsize
    for first in range(0, header.rows, spec.chunk_rows):
        rows = min(spec.chunk_rows, header.rows - first)
        data = stream.read(rows * row_bytes)
        if len(data) < rows * row_bytes:
            raise UnreadableBodyError(
                f"The NPY file is cut off: its header promises {header.rows} rows, it ends in row "
                f"{first + len(data) // row_bytes}. Send it again in full."
            )
        yield Piece(np.frombuffer(data, dtype=header.dtype).reshape(rows, columns))
    if stream.read(1):
        raise UnreadableBodyError(
            f"The NPY file goes on after the {header.rows} rows its header promises: send what np.save wrote."
        )
