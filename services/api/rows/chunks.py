"""Pieces of rows, as they come off the body, made into chunks of float32."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from services.api.rows.faults import invalid_rows, no_rows, show_number, too_many_rows
from services.api.rows.missing import Markers, round_to_float32
from shared.errors import MAX_ROW_ERRORS, RowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from services.api.rows.row_spec import RowSpec

#: The largest finite float32.
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows in a row.

    `values` is rows x features, float32 or float64, with NaN in the place of what is faulty; `faults` name
    their rows by the index in the body.
    """

    values: NDArray[np.floating]
    faults: list[RowError] = field(default_factory=list)


def gather_chunks(pieces: Iterable[Piece], spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    """Yield C-contiguous float32 chunks of `spec.chunk_rows` x features; only the last one may be shorter.

    Missing markers become NaN. Raises InvalidRowsError with the faults of the first chunk that has some, at most
    20, and where there is no row; TooManyRowsError beyond `spec.max_rows`.
    """
    buffer = _Buffer(spec)
    faults = _Faults(spec)
    total = 0
    for piece in pieces:
        values, beyond = _to_float32(piece.values, total, spec)
        faults.add(piece.faults + beyond)
        total += len(values)
        faults.check(total)
        if total > spec.max_rows:
            raise too_many_rows(spec.max_rows)
        yield from buffer.cut(values)
    faults.check(None)
    if not total:
        raise no_rows()
    if len(buffer.rest):
        yield buffer.rest


class _Faults:
    """Faults up to the end of the first chunk that has some: the same ones, however the rows come in pieces."""

    def __init__(self, spec: RowSpec) -> None:
        self._spec = spec
        self._found: list[RowError] = []

    def add(self, faults: list[RowError]) -> None:
        """Add the faults of further rows."""
        self._found += faults

    def check(self, rows: int | None) -> None:
        """Raise InvalidRowsError if the first chunk with faults is among so many rows, or if these are all rows."""
        if not self._found:
            return
        first = min(error.row or 0 for error in self._found)
        stop = min((first // self._spec.chunk_rows + 1) * self._spec.chunk_rows, self._spec.max_rows)
        in_chunk = [error for error in self._found if (error.row or 0) < stop]
        if in_chunk and (rows is None or rows >= stop or len(in_chunk) >= MAX_ROW_ERRORS):
            raise invalid_rows(in_chunk)


class _Buffer:
    """Cuts pieces of any length into chunks."""

    def __init__(self, spec: RowSpec) -> None:
        self._shape = (spec.chunk_rows, len(spec.features))
        self._chunk = np.empty(self._shape, dtype=np.float32)
        self._filled = 0

    @property
    def rest(self) -> NDArray[np.float32]:
        """The rows that fill no whole chunk."""
        return self._chunk[: self._filled]

    def cut(self, values: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Add rows, yielding each chunk that becomes full."""
        start = 0
        while start < len(values):
            taken = values[start : start + self._shape[0] - self._filled]
            self._chunk[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            start += len(taken)
            if self._filled == self._shape[0]:
                yield self._chunk
                # The consumer keeps what it got: the next chunk has memory of its own.
                self._chunk, self._filled = np.empty(self._shape, dtype=np.float32), 0


def _to_float32(
    values: NDArray[np.floating], first_row: int, spec: RowSpec
) -> tuple[NDArray[np.float32], list[RowError]]:
    single = round_to_float32(values)
    if spec.missing:
        single = Markers(spec.missing).erase(single)
    infinite = np.isinf(single)
    if not infinite.any():
        return single, []
    rows, columns = (places[:MAX_ROW_ERRORS].tolist() for places in np.nonzero(infinite))
    return single, [
        RowError(first_row + row, spec.names[column], _say_beyond(float(values[row, column])))
        for row, column in zip(rows, columns, strict=True)
    ]


def _say_beyond(value: float) -> str:
    if np.isinf(value):
        return "infinity is not a value that the model can take; send a finite number"
    return f"{show_number(value)} is beyond float32's range (±{_LARGEST:.8g}), in which the model computes; scale the column as in the training data"
