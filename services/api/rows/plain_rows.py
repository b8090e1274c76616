"""Many rows of JSON at once: arrays of plain numbers and nulls, which nearly all bodies hold.

One call of the parser for a block of rows costs a third of one call for each, and what is not plain is told by its bytes alone: a
block that has a text, an object or an array within a row is left to the careful way, and so is one that JSON's parser refuses, since
only the careful way can name the row, the column and the remedy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import orjson

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The bytes of numbers, `null`, separators and white space: all but the brackets of plain rows.
_WITHIN_ROWS = b"0123456789+-.eE, \t\r\nnul"

#: What stands between two rows.
_BETWEEN = re.compile(rb"\][ \t\r\n]*,[ \t\r\n]*\[")

#: The usual ways to write that, which are found faster.
_USUAL = (b"],[", b"], [", b"],\n[")


def count_plain_rows(text: bytes) -> int:
    """Count the rows of a text that is flat arrays of plain bytes with commas between them, and nothing else; 0 for any other."""
    brackets = text.translate(None, _WITHIN_ROWS)
    rows = len(brackets) // 2
    if not text.startswith(b"[") or not text.endswith(b"]") or brackets != b"[]" * rows:
        return 0
    if any(text.count(between) == rows - 1 for between in _USUAL):
        return rows
    return rows if len(_BETWEEN.findall(text)) == rows - 1 else 0


def split_rows(text: bytes) -> list[bytes]:
    """Return each row of a text that `count_plain_rows` has counted."""
    return [b"[%b]" % inner for inner in _BETWEEN.split(text[1:-1])]


def parse_plain_rows(text: bytes, features: int) -> NDArray[np.float64] | None:
    """Parse a text that `count_plain_rows` has counted, `null` as NaN; None where the careful way must say what is wrong."""
    try:
        numbers = np.array(orjson.loads(b"[%b]" % text), dtype=np.float64)
    except ValueError:  # no JSON, or rows of different lengths
        return None
    return numbers if numbers.shape[1:] == (features,) else None
