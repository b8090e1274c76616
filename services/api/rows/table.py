"""Rows of cells made into rows of values, column by column, in the model's order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.api.rows.chunks import Markers, Piece, round_to_float32
from services.api.rows.columns import NUMBERS, CategoryColumn, CellError, Column, NumberColumn
from shared.errors import MAX_ROW_ERRORS, RowError
from shared.models.contract import Feature, Kind

#: A column's values, and what is wrong with the first faulty cells, by row.
type _Values = tuple[NDArray[np.float64] | list[float], dict[int, str]]


class Table:
    """Reads cells by the features of one model. A faulty cell becomes NaN, and is reported."""

    def __init__(self, features: tuple[Feature, ...], missing: tuple[float, ...]) -> None:
        self._names = [feature.name for feature in features]
        self._markers = Markers(missing)
        self._columns: list[Column] = [
            CategoryColumn(feature.labels or (), self._markers)
            if feature.kind is Kind.CATEGORY
            else NumberColumn()
            for feature in features
        ]
        self._categories = [
            (place, column)
            for place, column in enumerate(self._columns)
            if isinstance(column, CategoryColumn)
        ]
        self.has_categories = bool(self._categories)
        #: Whether a float64 tells all whole numbers apart that are labels.
        self.takes_floats = all(column.is_exact for _, column in self._categories)
        #: Whether a number in CSV is never a label such as "10".
        self.takes_numbers_in_csv = self.takes_floats and not any(
            column.has_texts for _, column in self._categories
        )

    def from_json(self, rows: Sequence[Sequence[Any]]) -> Piece:
        """Read rows of JSON cells."""
        if not self.has_categories and set(map(type, chain.from_iterable(rows))) <= NUMBERS:
            return Piece(np.array(rows, dtype=np.float64))
        columns = zip(*rows, strict=True) if rows else [()] * len(self._columns)
        return self._read(columns, len(rows), _read_json)

    def from_text(self, columns: Iterable[Sequence[str]], rows: int) -> Piece:
        """Read CSV cells, given as columns."""
        return self._read(columns, rows, _read_text)

    def from_numbers(self, numbers: NDArray[np.float64]) -> Piece:
        """Read JSON or CSV cells that are all numbers, NaN for missing. In a category: labels."""
        return self._recode(numbers, numbers, CategoryColumn.from_json)

    def from_codes(self, matrix: NDArray[Any]) -> Piece:
        """Read rows of numbers of any dtype that hold codes in place of labels."""
        # Floats are rounded later, where one beyond float32's range is reported.
        values = matrix if matrix.dtype.kind == "f" else round_to_float32(matrix)
        piece = self._recode(matrix, values, CategoryColumn.from_code)
        if matrix.dtype.kind in "iu" and matrix.dtype.itemsize > 2:
            inexact = _find_inexact(matrix, values) & ~self._markers.find(values)
            inexact[:, [place for place, _ in self._categories]] = False
            for row, place in np.argwhere(inexact)[:MAX_ROW_ERRORS].tolist():
                piece.faults.append(
                    RowError(row, self._names[place], _say_inexact(matrix[row, place].item()))
                )
        return piece

    def _recode(
        self,
        numbers: NDArray[Any],
        values: NDArray[np.floating],
        read: Callable[[CategoryColumn, float], float],
    ) -> Piece:
        """Return the values with the codes that `read` returns for a category's numbers."""
        if not self.has_categories:
            return Piece(values)
        values = values.copy()
        faults: list[RowError] = []
        for place, column in self._categories:
            distinct, places = np.unique(numbers[:, place], return_inverse=True)
            found, wrong = _read_each(distinct.tolist(), partial(read, column))
            values[:, place] = np.array(found)[places]
            rows = np.flatnonzero(np.isin(places, list(wrong)))[:MAX_ROW_ERRORS].tolist() if wrong else []
            faults += self._name(place, {row: wrong[int(places[row])] for row in rows})
        return Piece(values, faults)

    def _read(
        self, columns: Iterable[Sequence[Any]], rows: int, read: Callable[[Column, Sequence[Any]], _Values]
    ) -> Piece:
        values = np.empty((rows, len(self._columns)), dtype=np.float64)
        faults: list[RowError] = []
        for place, (column, cells) in enumerate(zip(self._columns, columns, strict=True)):
            values[:, place], wrong = read(column, cells)
            faults += self._name(place, wrong)
        return Piece(values, faults)

    def _name(self, place: int, wrong: dict[int, str]) -> list[RowError]:
        return [RowError(row, self._names[place], detail) for row, detail in wrong.items()]


make_table = lru_cache(maxsize=64)(Table)


def _read_json(column: Column, cells: Sequence[Any]) -> _Values:
    if isinstance(column, NumberColumn) and set(map(type, cells)) <= NUMBERS:
        return np.array(cells, dtype=np.float64), {}
    return _read_each(cells, column.from_json)


def _read_text(column: Column, cells: Sequence[str]) -> _Values:
    if isinstance(column, NumberColumn):
        text = "".join(cells)
        # Python also takes 1_000 and digits of other scripts, and gives -nan a sign of its own.
        if text.isascii() and "_" not in text and "-n" not in text.lower():
            try:
                return list(map(float, cells)), {}
            except ValueError:
                pass
    return _read_each(cells, column.from_text)


def _read_each(cells: Sequence[Any], read: Callable[[Any], float]) -> _Values:
    """Read cells one by one, equal ones once: a category has few labels."""
    known: dict[Any, float] = {}
    values: list[float] = []
    wrong: dict[int, str] = {}
    for row, cell in enumerate(cells):
        try:
            value = known.get(cell)
        except TypeError:  # an array or an object
            value = None
        if value is None:
            try:
                value = known[cell] = read(cell)
            except CellError as fault:
                value = np.nan
                if len(wrong) < MAX_ROW_ERRORS:
                    wrong[row] = str(fault)
        values.append(value)
    return values, wrong


def _find_inexact(matrix: NDArray[Any], values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which integers float32 changes."""
    beyond = values >= 2.0 ** (8 * matrix.dtype.itemsize - (matrix.dtype.kind == "i"))
    with np.errstate(invalid="ignore"):
        changed: NDArray[np.bool_] = beyond | (values.astype(matrix.dtype) != matrix)
    return changed


def _say_inexact(number: int) -> str:
    return (
        f"the whole number {number} is not exact in float32, in which the model computes; to have it rounded, "
        "send the array as float64"
    )
