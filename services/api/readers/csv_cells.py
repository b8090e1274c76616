"""Cells of CSV made into numbers: a fast way for plain numbers, a careful way for all else."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import orjson

from services.api.readers.faults import quote
from shared.errors import RowError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: The bytes of numbers, separators and the words for a missing value.
_PLAIN_BYTES = b"0123456789+-.eE, \r\nnaNA"

#: A number; Python's float() would also take 1_000 and digits of other scripts.
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)

#: What stands for a missing value, in lower case.
_MISSING = frozenset({"", "nan", "na"})

#: What stands for infinity, in lower case and without sign.
_INFINITY = frozenset({"inf", "infinity"})


def parse_plain(block: bytes, columns: int) -> NDArray[np.float64] | None:
    """Parse whole lines of plain numbers at once, as JSON; None where the careful way must look.

    A CSV line of JSON numbers is a JSON array without its brackets, and nothing parses JSON's numbers
    faster. Quotes, blank lines, ragged rows and numbers such as `+1` or `.5` are left to the careful way.
    """
    if block.translate(None, _PLAIN_BYTES):
        return None
    text = block.replace(b"\r\n", b"\n") if b"\r" in block else block
    if b"\r" in text:
        return None
    text = text.removesuffix(b"\n")
    try:
        rows = orjson.loads(b"[[" + _fill_missing(text).replace(b"\n", b"],[") + b"]]")
        numbers = np.array(rows, dtype=np.float64)
    except ValueError:
        return None
    return numbers if numbers.shape[1:] == (columns,) else None


def _fill_missing(text: bytes) -> bytes:
    if b"N" in text or b"n" in text:
        for word in (b"NaN", b"nan", b"NAN", b"NA", b"na"):
            text = text.replace(word, b"null")
    # Between two separators that touch, of which one at least is a comma: two ends of lines have a blank line between them.
    codes = np.frombuffer(b"\n%b\n" % text, dtype=np.uint8)
    comma = codes == ord(",")
    either = comma | (codes == ord("\n"))
    empty = either[:-1] & either[1:] & (comma[:-1] | comma[1:])
    places = np.flatnonzero(empty).tolist()
    return b"null".join(text[start:stop] for start, stop in pairwise([0, *places, len(text)]))


def parse_row(cells: list[str], row: int, names: Sequence[str], faults: list[RowError]) -> list[float]:
    """Parse the cells of one row; what is no number goes to `faults` and is NaN."""
    if len(cells) != len(names):
        faults.append(RowError(row, None, f"the row has {len(cells)} cells, the header has {len(names)}"))
        return [np.nan] * len(names)
    text = "".join(cells)
    if text.isascii() and "_" not in text:
        try:
            return list(map(float, cells))
        except ValueError:
            pass
    numbers = []
    for cell, name in zip(cells, names, strict=True):
        number = _parse_cell(cell)
        if number is None:
            detail = f"{quote(cell)} is not a number; leave the cell empty for a missing value"
            faults.append(RowError(row, name, detail))
        numbers.append(np.nan if number is None else number)
    return numbers


def _parse_cell(cell: str) -> float | None:
    text = cell.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    word = text.lower()
    if word in _MISSING:
        return np.nan
    return np.inf if word.lstrip("+-") in _INFINITY else None
