"""Rows in JSON, each an array or an object by name; and NDJSON, with one row a line."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import orjson

from services.api.rows.chunks import Matrix, Piece, gather_chunks
from services.api.rows.columns import name_json
from services.api.rows.faults import list_names, row_too_long, shorten_name
from services.api.rows.json_scanner import BETWEEN_LINES, count_rows, split_rows
from services.api.rows.line_blocks import LineTooLongError, read_line_blocks
from services.api.rows.row_spec import RowSpec
from shared.errors import MAX_ROW_ERRORS, RowError, UnreadableBodyError

#: Not JSON, but written by some programs: NaN is missing, infinity is refused like a number beyond float32's range.
_LITERALS = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}

#: Digits of a whole number that is kept exact, as it may be a label.
_WHOLE_DIGITS = 20

#: The place in a message of the JSON library.
_PLACE = re.compile(r": line \d+ column \d+ \(char (\d+)\)$")


class JsonRowParser:
    """Parses rows of one model."""

    def __init__(self, spec: RowSpec) -> None:
        self._table = spec.table
        self._features = spec.names
        self._known = frozenset(spec.names)

    def parse(self, text: bytes, first_row: int) -> Piece:
        """Parse flat rows with commas between, of which the first has the number `first_row`.

        One call for many rows costs a third of one call each. Raises UnreadableBodyError.
        """
        try:
            rows = _parse_json(b"[%b]" % text)
        except ValueError:
            return self.parse_each(split_rows(text), first_row)
        if b'"' not in text and (piece := self._read_numbers(rows)):
            return piece
        names = sum(len(row) for row in rows if isinstance(row, dict))
        texts = None if text.count(b":") == names else split_rows(text)
        return self._read_cells(rows, texts)

    def parse_each(self, texts: Sequence[bytes], first_row: int) -> Piece:
        """Parse rows one by one. Raises UnreadableBodyError that names the row."""
        parsed = [_parse_row(text, row) for row, text in enumerate(texts, first_row)]
        return self._read_cells(parsed, texts)

    def _read_numbers(self, rows: list[Any]) -> Piece | None:
        """Read arrays of numbers; None for anything else, or a fault that cells tell better."""
        try:
            numbers = np.array(rows, dtype=np.float64)
        except (ValueError, TypeError):  # arrays of different lengths, or objects
            return None
        if numbers.shape != (len(rows), len(self._features)) or not self._table.takes_floats:
            return None
        piece = self._table.from_numbers(numbers)
        return None if piece.faults else piece

    def _read_cells(self, rows: list[Any], texts: Sequence[bytes] | None) -> Piece:
        """Read rows of any kind.

        `texts`, if given, are searched for names that a row has more than once.
        """
        cells: list[Sequence[Any]] = []
        faults: list[RowError] = []
        for number, row in enumerate(rows):
            found = self._pick(row, texts[number] if texts else b"")
            if isinstance(found, dict):
                faults += [RowError(number, column, detail) for column, detail in found.items()]
                found = [None] * len(self._features)
            cells.append(found)
        piece = self._table.from_json(cells)
        piece.faults.extend(faults)
        return piece

    def _pick(self, row: Any, text: bytes) -> Sequence[Any] | dict[str | None, str]:
        """Return a row's cells in feature order, or what is wrong by column."""
        count = len(self._features)
        if isinstance(row, list):
            if len(row) == count:
                return row
            return {None: f"the row has {len(row)} values, the model has {count} features"}
        if not isinstance(row, dict):
            return {None: f"a row is an array or an object by name, this is {name_json(row)}"}
        # As many colons as names: each name stands only once.
        doubled = _find_doubled(text) if text and text.count(b":") != len(row) else []
        if not doubled and row.keys() == self._known:
            return [row[name] for name in self._features]
        wrong: dict[str | None, str] = {
            shorten_name(name): "the row has this name more than once; send it once" for name in doubled
        }
        unknown = [name for name in row if name not in self._known]
        for name in unknown[:MAX_ROW_ERRORS]:
            wrong.setdefault(shorten_name(name), "the model has no such feature")
        missing = (
            f"the row lacks this feature and has {list_names(unknown)} instead; use the names of the model's features"
            if unknown
            else "the row lacks this feature; if its value is missing, send null"
        )
        return wrong | {name: missing for name in self._features if name not in row}


def read_ndjson(stream: BinaryIO, spec: RowSpec) -> Iterator[Matrix]:
    """Read NDJSON in C-contiguous float32 chunks, `spec.chunk_rows` x features.

    Cells are as in `read_json_rows`; blank lines are skipped. Raises UnreadableBodyError, InvalidRowsError and
    TooManyRowsError.
    """
    return gather_chunks(_read_lines(stream, spec), spec)


def _read_lines(stream: BinaryIO, spec: RowSpec) -> Iterator[Piece]:
    parser = JsonRowParser(spec)
    count = 0
    block = b""
    try:
        for block in read_line_blocks(stream, spec.max_row_bytes):
            piece = _parse_lines(parser, block, count)
            count += len(piece.values)
            yield piece
    except LineTooLongError:
        raise row_too_long(count, spec.max_row_bytes) from None
    except UnreadableBodyError as fault:
        if block.endswith(b"\n"):
            raise
        raise UnreadableBodyError(
            f"The body seems cut off: its last line has no end. {fault} Send it again in full."
        ) from fault
    if not block:
        raise UnreadableBodyError("The body is empty: send a JSON array or object on a line for each row.")


def _parse_lines(parser: JsonRowParser, block: bytes, first_row: int) -> Piece:
    text = block.strip(b"\r\n")
    # Objects are parsed as fast line by line.
    if b'"' not in text and text.count(b"\n") + 1 == count_rows(text, BETWEEN_LINES):
        return parser.parse(text.replace(b"\n", b","), first_row)
    lines = map(bytes.strip, block.split(b"\n"))
    return parser.parse_each([line for line in lines if line], first_row)


def _parse_json(text: bytes) -> Any:
    """Parse JSON that may hold NaN or 1e999, so that the faulty cell can be named.

    Raises JSONDecodeError.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text.decode(), parse_constant=_LITERALS.get, parse_int=_parse_whole)
        except (ValueError, RecursionError):
            pass
        raise


def _parse_row(text: bytes, row: int) -> Any:
    try:
        return _parse_json(text)
    except orjson.JSONDecodeError as fault:
        place = _PLACE.search(str(fault))
        where = f" (byte {place[1]} of the row)" if place else ""
        raise UnreadableBodyError(
            f"Row {row} is not valid JSON{where}: {_PLACE.sub('', str(fault))}."
        ) from fault


def _find_doubled(text: bytes) -> list[str]:
    pairs = json.loads(text, object_pairs_hook=list, parse_constant=_LITERALS.get, parse_int=_parse_whole)
    return [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]


def _parse_whole(text: str) -> float:
    return int(text) if len(text) <= _WHOLE_DIGITS else float(text)
