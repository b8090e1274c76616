"""Whole lines of CSV that hold plain numbers, parsed at once."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import orjson

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The bytes of numbers, separators and the words for a missing value.
_PLAIN_BYTES = b"0123456789+-.eE, \r\nnaNA"


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
