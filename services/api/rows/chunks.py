"""Pieces of rows, as they come off the body, made into chunks of float32."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from services.api.rows.faults import invalid_rows, no_rows, show_number, too_many_rows
from shared.errors import MAX_ROW_ERRORS, RowError

if TYPE_CHECKING:
    from services.api.rows.row_spec import RowSpec

type Matrix = NDArray[np.float32]

#: The largest finite float32.
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Piece:
    """Successive rows.

    `values` is rows x features, float32 or float64, with NaN in place of faulty cells; `faults` number these rows from 0.
    """

    values: NDArray[np.floating]
    faults: list[RowError] = field(default_factory=list)


class Markers:
    """A model's missing markers, compared in float32 as XGBoost does."""

    def __init__(self, missing: tuple[float, ...]) -> None:
        self._markers = round_to_float32(missing)

    def find(self, values: ArrayLike) -> NDArray[np.bool_]:
        """Tell which of the values are markers."""
        return np.isin(round_to_float32(values), self._markers)

    def is_missing(self, number: float | None) -> bool:
        """Tell whether one number is missing."""
        return number is None or math.isnan(number) or bool(self.find(float(number)))


def round_to_float32(values: ArrayLike) -> Matrix:
    """Round numbers to float32, beyond its range to infinity."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values).astype(np.float32, copy=False)


def gather_chunks(pieces: Iterable[Piece], spec: RowSpec) -> Iterator[Matrix]:
    """Yield C-contiguous float32 chunks, `spec.chunk_rows` x features; the last may be shorter.

    Missing markers become NaN. Raises InvalidRowsError for a body without rows, or with the errors of the first
    chunk that has some, at most 20; TooManyRowsError beyond `spec.max_rows`.
    """
    shape = (spec.chunk_rows, len(spec.features))
    chunk, filled = np.empty(shape, dtype=np.float32), 0
    for values in check_pieces(pieces, spec):
        start = 0
        while start < len(values):
            taken = values[start : start + spec.chunk_rows - filled]
            chunk[filled : filled + len(taken)] = taken
            filled += len(taken)
            start += len(taken)
            if filled == spec.chunk_rows:
                yield chunk
                # The caller keeps the chunk: the next one needs memory of its own.
                chunk, filled = np.empty(shape, dtype=np.float32), 0
    if filled:
        yield chunk[:filled]


def check_pieces(pieces: Iterable[Piece], spec: RowSpec) -> Iterator[Matrix]:
    """Yield the values of pieces, rounded to float32. Raises what `gather_chunks` does."""
    faults: list[RowError] = []
    total = 0
    for piece in pieces:
        values, infinite = _to_float32(piece.values, spec)
        faults += [replace(fault, row=total + (fault.row or 0)) for fault in piece.faults + infinite]
        total += len(values)
        _refuse(faults, total, spec)
        if total > spec.max_rows:
            raise too_many_rows(spec.max_rows)
        yield values
    _refuse(faults, None, spec)
    if not total:
        raise no_rows()


def _refuse(faults: list[RowError], rows: int | None, spec: RowSpec) -> None:
    """Raise InvalidRowsError once the first faulty chunk has been read whole, or without rows.

    So the same faults are listed however the rows come in pieces.
    """
    if not faults:
        return
    first = min(error.row or 0 for error in faults)
    stop = min((first // spec.chunk_rows + 1) * spec.chunk_rows, spec.max_rows)
    in_chunk = [error for error in faults if (error.row or 0) < stop]
    if in_chunk and (rows is None or rows >= stop or len(in_chunk) >= MAX_ROW_ERRORS):
        raise invalid_rows(in_chunk)


def _to_float32(values: NDArray[np.floating], spec: RowSpec) -> tuple[Matrix, list[RowError]]:
    single = round_to_float32(values)
    if spec.missing and (markers := Markers(spec.missing).find(single)).any():
        single = np.where(markers, np.float32(np.nan), single)
    infinite = np.isinf(single)
    if not infinite.any():
        return single, []
    places = np.argwhere(infinite)[:MAX_ROW_ERRORS].tolist()
    return single, [
        RowError(row, spec.features[column].name, _say_infinite(float(values[row, column])))
        for row, column in places
    ]


def _say_infinite(value: float) -> str:
    if np.isinf(value):
        return "infinity is not a value that the model can take; send a finite number"
    return (
        f"{show_number(value)} is beyond float32's range (±{_LARGEST:.8g}), and the model computes in float32; "
        "scale the column as in the training data"
    )
