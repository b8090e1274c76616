"""What a cell means to the model, by the kind of its feature: a number, a label or a code."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from services.api.rows.cells import (
    name_json,
    parse_cell,
    refuse_text_in_csv,
    refuse_value_in_json,
)
from services.api.rows.faults import list_names, quote, show_number
from shared.models.contract import Feature, Kind

if TYPE_CHECKING:
    from services.api.rows.missing import Markers
    from shared.models.contract import Label

#: The types of JSON's numbers, of true and false, and of null.
NUMBERS = frozenset({int, float, bool, type(None)})

#: Codes end below this number: float32 holds all whole numbers up to it.
MAX_CODES = 2**24

#: Labels that one message lists.
_LISTED_LABELS = 10

_CODES_ONLY = (
    "the model knows this category's codes only, whole numbers from 0. To send labels, add the model again "
    "with them: python -m ops.models add NAME FILE --labels LABELS"
)


class CellError(ValueError):
    """A cell that its feature cannot take. The message says what is wrong and what to do."""


class Column(Protocol):
    """One feature's cells."""

    def from_json(self, cell: Any) -> float:
        """Return the value of a cell of JSON, NaN if it is missing. Raises CellError."""
        ...

    def from_text(self, cell: str) -> float:
        """Return the value of a cell of CSV, which has no type. Raises CellError."""
        ...


class NumberColumn:
    """Numbers; true and false are 1 and 0."""

    def from_json(self, cell: Any) -> float:
        """Return the number."""
        if type(cell) not in NUMBERS:
            raise CellError(refuse_value_in_json(cell))
        return math.nan if cell is None else float(cell)

    def from_text(self, cell: str) -> float:
        """Return the number that the text holds."""
        try:
            return parse_cell(cell)
        except ValueError:
            raise CellError(refuse_text_in_csv(cell)) from None


class CodeColumn:
    """A category whose labels the model does not know: it takes codes."""

    #: The codes are the whole numbers from 0 to below this one.
    count = MAX_CODES

    def __init__(self, markers: Markers) -> None:
        self._markers = markers

    def say_wrong_code(self, number: float) -> str:
        """Say why a number is not a code."""
        return f"{show_number(number)} is not a code; codes are whole numbers from 0 to {MAX_CODES - 1}"

    def from_json(self, cell: Any) -> float:
        """Return the code."""
        if type(cell) not in NUMBERS:
            raise CellError(f"{name_json(cell)} is not a code; {_CODES_ONLY}")
        if cell is None or math.isnan(cell) or self._markers.find(float(cell)):
            return math.nan
        if 0 <= cell < MAX_CODES and cell == int(cell):
            return float(cell)
        raise CellError(f"{show_number(cell)} is not a code; {_CODES_ONLY}")

    def from_text(self, cell: str) -> float:
        """Return the code that the text holds."""
        try:
            return self.from_json(parse_cell(cell))
        except CellError:
            raise
        except ValueError:
            raise CellError(f"{quote(cell)} is not a code; {_CODES_ONLY}") from None


class LabelColumn:
    """A category whose labels the model knows. A label's code is its position."""

    def __init__(self, labels: tuple[Label, ...], markers: Markers) -> None:
        self._labels = labels
        self._markers = markers
        self._codes: dict[object, float] = {label: float(code) for code, label in enumerate(labels)}
        #: The codes are the whole numbers from 0 to below this one.
        self.count = len(labels)
        #: Whether the labels are texts; otherwise they are whole numbers.
        self.has_texts = isinstance(labels[0], str)
        #: Whether each label is exact as a float64, and differs from its neighbours there.
        self.is_exact = self.has_texts or all(abs(int(label)) < 2**53 for label in labels)

    def from_json(self, cell: Any) -> float:
        """Return the label's code. A text is never a number's label, nor the other way round."""
        code = self._codes.get(cell) if isinstance(cell, str | int | float) else None
        if code is not None:
            return code
        if type(cell) in NUMBERS and (cell is None or math.isnan(cell) or self._markers.find(float(cell))):
            return math.nan
        raise CellError(self._say_unknown(name_json(cell)))

    def from_text(self, cell: str) -> float:
        """Return the label's code. A label that is also a word for missing values is the label."""
        for text in (cell, cell.strip()):
            if text in self._codes:
                return self._codes[text]
        try:
            number = parse_cell(cell)
        except ValueError:
            raise CellError(self._say_unknown(quote(cell))) from None
        if not self.has_texts:
            return self.from_json(number)
        if math.isnan(number) or self._markers.find(number):
            return math.nan
        raise CellError(self._say_unknown(quote(cell)))

    def say_wrong_code(self, number: float) -> str:
        """Say why a number is not a code."""
        codes = f"0 to {self.count - 1}" if self.count > 1 else "0"
        shown = show_number(number)
        return f"{shown} is not a code of this category; the codes are {codes}, for {self._list_labels()}"

    def _say_unknown(self, shown: str) -> str:
        return f"{shown} is not a label of this category; the labels are {self._list_labels()}"

    def _list_labels(self) -> str:
        return list_names(self._labels, _LISTED_LABELS)


def column_of(feature: Feature, markers: Markers) -> Column:
    """Return how a feature's cells are read."""
    if feature.kind is not Kind.CATEGORY:
        return NumberColumn()
    return LabelColumn(feature.labels, markers) if feature.labels else CodeColumn(markers)
