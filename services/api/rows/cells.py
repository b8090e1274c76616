"""Cells of text: which words and numbers they may hold, and what is said of those that hold something else."""

from __future__ import annotations

import math
import re

from services.api.rows.faults import quote, show_number

#: A number; Python's float() would also take 1_000 and digits of other scripts.
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)

#: A whole number that an integer of 64 bits may hold: it is kept exact, as it may be a label.
_WHOLE = re.compile(r"[+-]?\d{1,20}", re.ASCII)

#: A number as people write it: with a decimal comma, or with separators of thousands.
_WRITTEN_NUMBER = re.compile(r"[+-]?\d[\d.,_'\s]*", re.ASCII)

#: What stands for a missing value, in lower case.
_MISSING = frozenset({"", "nan", "+nan", "-nan", "na", "n/a", "null", "none", "<na>", "#n/a"})

#: The other words that stand for numbers, in lower case.
_WORDS = {
    "true": 1,
    "false": 0,
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in ("inf", "infinity")},
}

#: The advice for a cell that no rule below knows.
_ENCODE = "encode it as in the training data"


def parse_cell(cell: str) -> float:
    """Parse a cell as a number; NaN stands for missing, 1 and 0 for true and false. Raises ValueError for any other."""
    text = cell.strip()
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    word = text.lower()
    if word in _MISSING:
        return math.nan
    if word in _WORDS:
        return _WORDS[word]
    raise ValueError(cell)


def refuse_text_in_csv(cell: str) -> str:
    """Say why a cell of CSV is not a number."""
    return f"{quote(cell)} is not a number; {_advise_on_csv(cell.strip())}"


def refuse_value_in_json(cell: object) -> str:
    """Say why a value in JSON is not a number."""
    if not isinstance(cell, str):
        return f"{name_json(cell)} is not a number; send one number for each feature"
    return f"the text {quote(cell)} is not a number; {_advise_on_json(cell)}"


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
    if _WRITTEN_NUMBER.fullmatch(text):
        return "write numbers with a decimal point and without separators between thousands"
    if not any(map(str.isalnum, text)):
        return "if it stands for a missing value, leave the cell empty"
    return _ENCODE


def _advise_on_json(text: str) -> str:
    try:
        number = parse_cell(text)
    except ValueError:
        return _ENCODE
    return "if its value is missing, send null" if math.isnan(number) else "send it without quotes"
