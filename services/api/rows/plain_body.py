"""A small JSON body of plain rows, parsed in one call: what nearly all single requests send.

A body is plain if it has known members, each once, and rows of numbers and nulls of one length. Any other body is left to json_rows,
which can name the row, the column and the remedy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import orjson

from services.api.rows.chunks import Piece, gather_chunks
from services.api.rows.json_rows import OPTIONS, BodyOptions
from services.api.rows.row_spec import BLOCK_BYTES
from services.api.rows.table import table_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from services.api.rows.row_spec import RowSpec

#: The types of the cells of plain rows: true and false are left to the careful way.
_PLAIN_TYPES = frozenset({int, float, type(None)})

#: Bytes of a small body, at most: no row in it can be too long.
SMALL_BYTES = BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class PlainBody:
    """A whole body: its options and its rows, rows x columns, with NaN for null."""

    options: BodyOptions
    numbers: NDArray[np.float64]

    def fits(self, spec: RowSpec) -> bool:
        """Tell whether its rows are as long as the model's, and its labels can be told from them."""
        if self.numbers.shape[1] != len(spec.features):
            return False
        return not spec.has_categories or table_of(spec).takes_floats

    def read(self, spec: RowSpec) -> Iterator[NDArray[np.float32]]:
        """Yield its rows as every reader does, if they fit. Raises InvalidRowsError and TooManyRowsError."""
        piece = table_of(spec).from_numbers(self.numbers, 0) if spec.has_categories else Piece(self.numbers)
        return gather_chunks([piece], replace(spec, chunk_rows=min(spec.chunk_rows, len(self.numbers))))


def read_plain_body(stream: BinaryIO) -> PlainBody | None:
    """Read a body from its start if it is small and plain; else None. The stream is left somewhere."""
    text = stream.read(SMALL_BYTES + 1)
    if len(text) > SMALL_BYTES:
        return None
    try:
        members = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(members, dict) or not _is_each_said_once(members, text):
        return None
    rows = members.pop("rows", None)
    if not _are_plain(rows) or not all(_is_option(name, value) for name, value in members.items()):
        return None
    return PlainBody(BodyOptions(**members), np.array(rows, dtype=np.float64))


def _is_each_said_once(members: dict[str, Any], text: bytes) -> bool:
    """Tell whether the text has no more quotes than the members: a name said twice has some, and a text in a row."""
    texts = sum(isinstance(value, str) for value in members.values())
    return text.count(b'"') == 2 * (len(members) + texts)


def _are_plain(rows: Any) -> bool:
    if not isinstance(rows, list) or not rows or set(map(type, rows)) != {list}:
        return False
    return len(set(map(len, rows))) == 1 and _PLAIN_TYPES.issuperset(map(type, chain.from_iterable(rows)))


def _is_option(name: str, value: Any) -> bool:
    return name in OPTIONS and (value is None or type(value) is OPTIONS[name][0])
