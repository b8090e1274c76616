"""Rows written in JSON, an array or an object by name, made into values in the model's feature order."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson

from services.api.rows.cells import name_json
from services.api.rows.faults import list_names, shorten_name
from services.api.rows.plain_rows import parse_plain_rows, split_rows
from services.api.rows.table import table_of
from shared.errors import MAX_ROW_ERRORS, RowError, UnreadableBodyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.api.rows.chunks import Piece
    from services.api.rows.row_spec import RowSpec

#: An array or object up to its end, or up to what stands in a flat one's way. It never backtracks.
FLAT_ROW = re.compile(rb'[\[{](?:[^\[\]{}"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)

#: What some programs write in spite of JSON: NaN is missing, infinity is refused like a number beyond float32's range.
_LITERALS = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}

#: Digits of a whole number that is kept exact, as it may be a label.
_WHOLE_DIGITS = 20

#: Where the JSON library's message says the place.
_PLACE = re.compile(r": line \d+ column \d+ \(char (\d+)\)$")


class JsonRowParser:
    """Parses rows of one model. Use one parser a body."""

    def __init__(self, spec: RowSpec) -> None:
        self._table = table_of(spec)
        self._features = spec.names
        self._known = frozenset(spec.names)
        self._pick = itemgetter(*spec.names)
        # Then the colons in an object's text are those after its names: see _is_plain.
        self._colons_tell = not any(":" in name for name in spec.names)

    def parse(self, texts: Sequence[bytes], first_row: int) -> Piece:
        """Parse rows, the first of which has the index `first_row`.

        Raises UnreadableBodyError for what is not JSON.
        """
        faults: list[RowError] = []
        rows = [self._parse_row(text, row, faults) for row, text in enumerate(texts, first_row)]
        piece = self._table.from_json(rows, first_row)
        piece.faults.extend(faults)
        return piece

    def parse_plain(self, text: bytes, first_row: int) -> Piece:
        """Parse rows whose text `count_plain_rows` has counted. Raises what `parse` does."""
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
        if parsed.keys() == self._known and (self._is_plain(text) or not _find_doubled(text)):
            return self._pick(parsed) if count > 1 else list(parsed.values())
        return self._compare_names(parsed, text)

    def _is_plain(self, text: bytes) -> bool:
        """Tell whether no name can be doubled: as many colons as names, where no name holds one."""
        return self._colons_tell and text.count(b":") == len(self._features)

    def _compare_names(self, parsed: dict[str, Any], text: bytes) -> dict[str | None, str]:
        wrong: dict[str | None, str] = {
            shorten_name(name): "the row has this name more than once; send it once"
            for name in _find_doubled(text)
        }
        unknown = [name for name in parsed if name not in self._known]
        for name in unknown[:MAX_ROW_ERRORS]:
            wrong.setdefault(shorten_name(name), "the model has no such feature")
        lacking = (
            f"the row lacks this feature and has {list_names(unknown)} instead; name each of the model's features"
            if unknown
            else "the row lacks this feature; if its value is missing, send null"
        )
        wrong |= {name: lacking for name in self._features if name not in parsed}
        return wrong


def _find_doubled(text: bytes) -> list[str]:
    pairs = json.loads(text, object_pairs_hook=list, parse_constant=_LITERALS.get, parse_int=_parse_whole)
    return [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]


def _parse_whole(text: str) -> float:
    return int(text) if len(text) <= _WHOLE_DIGITS else float(text)


def _parse_leniently(text: bytes, row: int, fault: orjson.JSONDecodeError) -> Any:
    """Parse a flat row with what JSON lacks (NaN, 1e999), so that the faulty cell can be named."""
    flat = FLAT_ROW.match(text)
    if flat and flat.end() == len(text) - 1:
        try:
            return json.loads(text.decode(), parse_constant=_LITERALS.get, parse_int=_parse_whole)
        except ValueError:
            pass
    place = _PLACE.search(str(fault))
    where = f" (byte {place[1]} of the row)" if place else ""
    raise UnreadableBodyError(f"Row {row} is not JSON{where}: {_PLACE.sub('', str(fault))}.") from fault
