"""The meaning of a cell by its feature's kind: a number, a label or a code.

A column's `from_json` takes a cell of JSON, and `from_text` one of CSV, which has no type. Both return NaN for a
missing value and raise CellError.
"""

from __future__ import annotations

import math
import re
from typing import Any

from services.api.rows.chunks import Markers
from services.api.rows.faults import list_names, quote, show_number
from shared.csv_cells import readable
from shared.models.contract import Label

#: The types of JSON's numbers, of true and false, and of null.
NUMBERS = frozenset({int, float, bool, type(None)})

#: Codes end below this number: float32 holds all whole numbers up to it.
MAX_CODES = 2**24

#: Digits of a whole number that an integer of 64 bits may hold: it is kept exact, as it may be a label.
_WHOLE_DIGITS = 20

#: A number with a decimal comma or with separators of thousands.
_FORMATTED_NUMBER = re.compile(r"[+-]?\d[\d.,_'\s]*", re.ASCII)

#: Words for numbers and, as NaN, for a missing value; in lower case.
_WORDS = {
    **dict.fromkeys(("", "nan", "+nan", "-nan", "na", "n/a", "null", "none", "<na>", "#n/a"), math.nan),
    "true": 1,
    "false": 0,
}

#: Labels that a message lists.
_LISTED_LABELS = 10

_ENCODE = "encode it as in the training data"

_CODES_ONLY = (
    "the model knows only the codes of this category, whole numbers from 0. To send labels, add the model "
    "again with its labels: python -m ops.models add NAME FILE --labels LABELS"
)


class CellError(ValueError):
    """A cell that its feature cannot take. The message says what is wrong and what to do."""


class NumberColumn:
    """Numbers; true and false are 1 and 0."""

    def from_json(self, cell: Any) -> float:
        """Return the number."""
        if type(cell) in NUMBERS:
            return math.nan if cell is None else float(cell)
        advice = _advise_on_json(cell) if isinstance(cell, str) else "send one number for each feature"
        raise CellError(f"{name_json(cell)} is not a number; {advice}")

    def from_text(self, cell: str) -> float:
        """Return the number that the text holds."""
        try:
            return parse_cell(cell)
        except ValueError:
            raise CellError(f"{quote(cell)} is not a number; {_advise_on_csv(cell.strip())}") from None


class CategoryColumn:
    """A category. A label's code is its position; without labels, cells are the codes."""

    def __init__(self, labels: tuple[Label, ...], markers: Markers) -> None:
        self._markers = markers
        self._labels = labels
        self._codes: dict[object, float] = {label: float(code) for code, label in enumerate(labels)}
        texts = readable(label for label in labels if isinstance(label, str))
        self._codes_of_texts = {text: self._codes[label] for text, label in texts.items()}
        self._count = len(labels) or MAX_CODES
        #: Whether the labels are texts; otherwise they are whole numbers, or there are none.
        self.has_texts = bool(labels) and isinstance(labels[0], str)
        #: Whether each label is exact as a float64, and differs from its neighbours there.
        self.is_exact = self.has_texts or all(abs(int(label)) < 2**53 for label in labels)

    def from_json(self, cell: Any) -> float:
        """Return the cell's code. A text is never a number's label, nor the other way round."""
        code = self._codes.get(cell) if isinstance(cell, str | int | float) else None
        if code is not None:
            return code
        if type(cell) in NUMBERS:
            if self._markers.is_missing(cell):
                return math.nan
            if not self._labels and 0 <= cell < MAX_CODES and cell == int(cell):
                return float(cell)
        raise self._refuse(name_json(cell))

    def from_text(self, cell: str) -> float:
        """Return the cell's code. A label that is also a word for missing values is the label."""
        for text in (cell, cell.strip()):
            if text in self._codes_of_texts:
                return self._codes_of_texts[text]
        try:
            number = parse_cell(cell)
        except ValueError:
            raise self._refuse(quote(cell)) from None
        if self.has_texts and not self._markers.is_missing(number):
            raise self._refuse(quote(cell))
        return self.from_json(number)

    def from_code(self, number: float) -> float:
        """Return a number that should be a code."""
        if self._markers.is_missing(number):
            return math.nan
        if 0 <= number < self._count and number == int(number):
            return float(number)
        if not self._labels:
            codes = f"codes are whole numbers from 0 to {MAX_CODES - 1}"
            raise CellError(f"{show_number(number)} is not a code; {codes}")
        codes = f"0 to {self._count - 1}" if self._count > 1 else "0"
        raise CellError(
            f"{show_number(number)} is not a code of this category; the codes are {codes}, for "
            f"{list_names(self._labels, _LISTED_LABELS)}"
        )

    def _refuse(self, shown: str) -> CellError:
        if not self._labels:
            return CellError(f"{shown} is not a code; {_CODES_ONLY}")
        labels = list_names(self._labels, _LISTED_LABELS)
        return CellError(f"{shown} is not a label of this category; the labels are {labels}")


type Column = NumberColumn | CategoryColumn


def parse_cell(cell: str) -> float:
    """Parse a text as a number: NaN for missing, 1 and 0 for true and false. Raises ValueError."""
    text = cell.strip()
    if (number := _WORDS.get(text.lower())) is not None:
        return number
    # Python also takes 1_000 and digits of other scripts.
    if "_" in text or not text.isascii():
        raise ValueError(cell)
    digits = text.lstrip("+-")
    return int(text) if digits.isdigit() and len(digits) <= _WHOLE_DIGITS else float(text)


def name_json(value: object) -> str:
    """Name a value as JSON calls it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {quote(value)}"
    if isinstance(value, int | float):
        return show_number(value)
    return "an array" if isinstance(value, list) else "an object"


def _advise_on_csv(text: str) -> str:
    if _FORMATTED_NUMBER.fullmatch(text):
        return "write numbers with a decimal point and without thousands separators"
    if not any(map(str.isalnum, text)):
        return "if it stands for a missing value, leave the cell empty"
    return _ENCODE


def _advise_on_json(text: str) -> str:
    try:
        number = parse_cell(text)
    except ValueError:
        return _ENCODE
    return "if its value is missing, send null" if math.isnan(number) else "send it without quotes"
