"""Newline-delimited JSON, one row a line, read as a stream."""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING, BinaryIO

from services.api.rows.chunks import Piece, gather_chunks
from services.api.rows.faults import row_too_long
from services.api.rows.json_values import JsonRowParser
from services.api.rows.line_blocks import LineTooLongError, read_line_blocks
from services.api.rows.plain_rows import count_plain_rows
from shared.errors import UnreadableBodyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from services.api.rows.row_spec import RowSpec


def read_ndjson(stream: BinaryIO, spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    """Read rows, an array or an object a line, in chunks of float32, C-contiguous, `spec.chunk_rows` x features.

    `null` and NaN are missing, true and false are 1 and 0, and a category is given by its label; blank lines are skipped. Raises UnreadableBodyError, InvalidRowsError and
    TooManyRowsError.
    """
    return gather_chunks(_read_pieces(stream, spec), spec)


def _read_pieces(stream: BinaryIO, spec: RowSpec) -> Iterator[Piece]:
    parser = JsonRowParser(spec)
    limit = spec.max_row_bytes
    rows = 0
    empty = True
    try:
        for block in read_line_blocks(stream, limit):
            empty = False
            text = block.strip(b"\r\n")
            if count := _count_plain_lines(text):
                yield parser.parse_plain(text.replace(b"\n", b","), rows)
                rows += count
                continue
            lines = [line for line in map(bytes.strip, block.split(b"\n")) if line]
            for texts in batched(lines, spec.rows_at_once):
                yield _parse_lines(parser, texts, rows, whole=block.endswith(b"\n"))
                rows += len(texts)
    except LineTooLongError:
        raise row_too_long(rows, limit) from None
    if empty:
        raise UnreadableBodyError("The body is empty: send a JSON array or object on a line for each row.")


def _count_plain_lines(text: bytes) -> int:
    """Count the lines of a text that has nothing but one plain array on each; 0 for any other."""
    between = text.count(b"]\n[")
    plain = text.count(b"\n") == between and count_plain_rows(text.replace(b"\n", b",")) == between + 1
    return between + 1 if plain else 0


def _parse_lines(parser: JsonRowParser, texts: tuple[bytes, ...], first_row: int, *, whole: bool) -> Piece:
    try:
        return parser.parse(texts, first_row)
    except UnreadableBodyError as fault:
        if whole:
            raise
        if len(texts) > 1:
            parser.parse(texts[:-1], first_row)
        raise UnreadableBodyError(
            f"The body seems cut off: its last line has no end. {fault} Send it again in full."
        ) from fault
