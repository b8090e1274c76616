"""Rows in JSON, each an array or an object by name; and NDJSON, with one row a line."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import batched
from operator import itemgetter
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from services.api.rows.chunks import Matrix, Piece, gather_chunks
from services.api.rows.columns import name_json
from services.api.rows.faults import list_names, row_too_long, shorten_name
from services.api.rows.json_scanner import BETWEEN_ROWS, FLAT_ROW, Rows, count_plain_rows
from services.api.rows.line_blocks import LineTooLongError, read_line_blocks
from services.api.rows.row_spec import RowSpec
from services.api.rows.table import table_of
from shared.errors import MAX_ROW_ERRORS, RowError, UnreadableBodyError

#: Bytes of rows that are parsed together.
_TEXT_AT_ONCE = 256 * 1024

#: Not JSON, but written by some programs: NaN is missing, infinity is refused like a number beyond float32's range.
_LITERALS = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}

#: Digits of a whole number that is kept exact, as it may be a label.
_WHOLE_DIGITS = 20

#: The place in a message of the JSON library.
_PLACE = re.compile(r": line \d+ column \d+ \(char (\d+)\)$")


def read_ndjson(stream: BinaryIO, spec: RowSpec) -> Iterator[Matrix]:
    """Read NDJSON in C-contiguous float32 chunks, `spec.chunk_rows` x features.

    Cells are as in `read_json_rows`; blank lines are skipped. Raises UnreadableBodyError, InvalidRowsError and
    TooManyRowsError.
    """
    return gather_chunks(_read_lines(stream, spec), spec)


def parse_rows(texts: Iterable[Rows], spec: RowSpec) -> Iterator[Piece]:
    """Parse the rows that a JsonScanner found. Raises UnreadableBodyError."""
    parser = JsonRowParser(spec)
    held: list[bytes] = []
    held_bytes = rows = 0
    for taken in texts:
        if taken.count == 1:
            held.append(taken.text)
            held_bytes += len(taken.text)
        if held and (taken.count > 1 or len(held) >= spec.rows_at_once or held_bytes > _TEXT_AT_ONCE):
            yield parser.parse(held, rows)
            rows += len(held)
            held, held_bytes = [], 0
        if taken.count > 1:
            yield parser.parse_plain(taken.text, rows)
            rows += taken.count
    if held:
        yield parser.parse(held, rows)


class JsonRowParser:
    """Parses rows of one model."""

    def __init__(self, spec: RowSpec) -> None:
        self._table = table_of(spec)
        self._features = spec.names
        self._known = frozenset(spec.names)
        self._pick = itemgetter(*spec.names)
        # Without colons in names, the colons in an object's text are those after its names.
        self._colons_count_names = not any(":" in name for name in spec.names)

    def parse(self, texts: Sequence[bytes], first_row: int) -> Piece:
        """Parse rows, the first of which has the number `first_row`. Raises UnreadableBodyError."""
        faults: list[RowError] = []
        rows = [self._parse_row(text, row, faults) for row, text in enumerate(texts, first_row)]
        piece = self._table.from_json(rows, first_row)
        piece.faults.extend(faults)
        return piece

    def parse_plain(self, text: bytes, first_row: int) -> Piece:
        """Parse the rows of a text that `count_plain_rows` has counted. Raises UnreadableBodyError."""
        numbers = parse_plain_rows(text, len(self._features))
        if numbers is None or not self._table.takes_floats:
            return self.parse(split_rows(text), first_row)
        return self._table.from_numbers(numbers, first_row)

    def _parse_row(self, text: bytes, row: int, faults: list[RowError]) -> Sequence[Any]:
        try:
            parsed = orjson.loads(text)
        except orjson.JSONDecodeError as fault:
            parsed = _parse_leniently(text, row, fault)
        found = self._read_cells(parsed, text)
        if not isinstance(found, dict):
            return found
        faults += [RowError(row, column, detail) for column, detail in found.items()]
        return [None] * len(self._features)

    def _read_cells(self, parsed: Any, text: bytes) -> Sequence[Any] | dict[str | None, str]:
        """Return the cells in feature order, or what is wrong by column."""
        count = len(self._features)
        if isinstance(parsed, list):
            if len(parsed) == count:
                return parsed
            return {None: f"the row has {len(parsed)} values, the model has {count} features"}
        if not isinstance(parsed, dict):
            return {None: f"a row is an array or an object by name, this is {name_json(parsed)}"}
        once = self._colons_count_names and text.count(b":") == count
        if parsed.keys() == self._known and (once or not _find_doubled(text)):
            return self._pick(parsed) if count > 1 else list(parsed.values())
        return self._compare_names(parsed, text)

    def _compare_names(self, parsed: dict[str, Any], text: bytes) -> dict[str | None, str]:
        wrong: dict[str | None, str] = {
            shorten_name(name): "the row has this name more than once; send it once"
            for name in _find_doubled(text)
        }
        unknown = [name for name in parsed if name not in self._known]
        for name in unknown[:MAX_ROW_ERRORS]:
            wrong.setdefault(shorten_name(name), "the model has no such feature")
        missing = (
            f"the row lacks this feature and has {list_names(unknown)} instead; use the names of the model's features"
            if unknown
            else "the row lacks this feature; if its value is missing, send null"
        )
        wrong |= {name: missing for name in self._features if name not in parsed}
        return wrong


def parse_plain_rows(text: bytes, features: int) -> NDArray[np.float64] | None:
    """Parse a text that `count_plain_rows` has counted, `null` as NaN.

    One call for many rows costs a third of one call each. None where rows must be parsed one by one, to say what is wrong.
    """
    try:
        numbers = np.array(orjson.loads(b"[%b]" % text), dtype=np.float64)
    except ValueError:  # no JSON, or rows of different lengths
        return None
    return numbers if numbers.shape[1:] == (features,) else None


def split_rows(text: bytes) -> list[bytes]:
    """Split a text that `count_plain_rows` has counted into its rows."""
    return [b"[%b]" % inner for inner in BETWEEN_ROWS.split(text[1:-1])]


def _read_lines(stream: BinaryIO, spec: RowSpec) -> Iterator[Piece]:
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


def _find_doubled(text: bytes) -> list[str]:
    pairs = json.loads(text, object_pairs_hook=list, parse_constant=_LITERALS.get, parse_int=_parse_whole)
    return [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]


def _parse_whole(text: str) -> float:
    return int(text) if len(text) <= _WHOLE_DIGITS else float(text)


def _parse_leniently(text: bytes, row: int, fault: orjson.JSONDecodeError) -> Any:
    """Parse a flat row that holds NaN or 1e999, so that the faulty cell can be named."""
    flat = FLAT_ROW.match(text)
    if flat and flat.end() == len(text) - 1:
        try:
            return json.loads(text.decode(), parse_constant=_LITERALS.get, parse_int=_parse_whole)
        except ValueError:
            pass
    place = _PLACE.search(str(fault))
    where = f" (byte {place[1]} of the row)" if place else ""
    raise UnreadableBodyError(f"Row {row} is not valid JSON{where}: {_PLACE.sub('', str(fault))}.") from fault
