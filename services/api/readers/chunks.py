"""Pieces of rows, as they come off the body, made into chunks of float32."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from services.api.readers.faults import invalid_rows, no_rows, too_many_rows
from shared.errors import MAX_ROW_ERRORS, RowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from services.api.readers.row_spec import RowSpec

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

    Raises InvalidRowsError at the end of the chunk in which a fault was found (or at the 20th fault), and
    where there is no row; TooManyRowsError beyond `spec.max_rows`.
    """
    buffer = _Buffer(spec)
    faults: list[RowError] = []
    total = 0
    for piece in pieces:
        values, beyond = _to_float32(piece.values, total, spec)
        total += len(values)
        if total > spec.max_rows:
            raise too_many_rows(spec.max_rows)
        faults += piece.faults + beyond
        if len(faults) >= MAX_ROW_ERRORS:
            raise invalid_rows(faults)
        for chunk in buffer.cut(values):
            if faults:
                raise invalid_rows(faults)
            yield chunk
    if faults:
        raise invalid_rows(faults)
    if not total:
        raise no_rows()
    if len(buffer.rest):
        yield buffer.rest


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
    with np.errstate(over="ignore", invalid="ignore"):
        single = values.astype(np.float32, copy=False)
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
        return "infinity cannot be explained; send a finite number, or leave it out as missing"
    return f"{value!r} is beyond float32's range (±{_LARGEST:.8g}), which models compute in; scale it or leave it out as missing"
