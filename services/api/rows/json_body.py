"""A JSON body, `{"model": …, "rows": […], …}`, streamed in two passes: options, then rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from services.api.rows.chunks import Matrix, Piece, gather_chunks
from services.api.rows.faults import quote, too_many_rows
from services.api.rows.json_rows import JsonRowParser
from services.api.rows.json_scanner import VALUE_STARTS, JsonScanner, Rows
from services.api.rows.row_spec import RowSpec
from shared.errors import UnprocessableError, UnreadableBodyError

#: Bytes a row may take while its model, and so its length, is not known.
_ANY_ROW_BYTES = 8 * 1024 * 1024

#: The type of each option and its name in messages; null leaves the option out.
OPTIONS: dict[str, tuple[type, str]] = {
    "model": (str, "a string"),
    "method": (str, "a string"),
    "interactions": (bool, "true or false"),
    "top_pairs": (int, "a whole number"),
}

_SHAPE = 'send {"model": "NAME", "rows": [[1.5, null, …], …], "method": "tree_path_dependent"}'


@dataclass(frozen=True, slots=True)
class BodyOptions:
    """The options beside the rows of a JSON body; None for what it leaves out."""

    model: str | None = None
    method: str | None = None
    interactions: bool | None = None
    top_pairs: int | None = None


def read_json_options(stream: BinaryIO, max_rows: int | None = None) -> BodyOptions:
    """Read the options of a JSON body, skipping its rows; the outline of the body is checked.

    Raises UnreadableBodyError for what is not JSON, UnprocessableError for unknown, doubled and missing members,
    InvalidRowsError for rows that are not flat, and TooManyRowsError beyond `max_rows`, if given.
    """
    options: dict[str, Any] = {}
    count = 0
    for name, value in _walk(JsonScanner(stream, _ANY_ROW_BYTES)):
        if not isinstance(value, Rows):
            options[name] = value
            continue
        count += value.count
        if max_rows is not None and count > max_rows:
            raise too_many_rows(max_rows)
    return BodyOptions(**options)


def read_json_rows(stream: BinaryIO, spec: RowSpec) -> Iterator[Matrix]:
    """Read a JSON body's rows in C-contiguous float32 chunks, `spec.chunk_rows` x features.

    A row is an array in feature order or an object by name. `null` and NaN are missing, true and false are 1 and 0, and a
    category is given by its label. An object in place of the array of rows is a single row. Raises UnreadableBodyError,
    UnprocessableError, InvalidRowsError and TooManyRowsError.
    """
    members = _walk(JsonScanner(stream, spec.max_row_bytes))
    return _parse_rows((taken for _, taken in members if isinstance(taken, Rows)), spec)


def read_json_file(stream: BinaryIO, spec: RowSpec) -> Iterator[Matrix]:
    """Read a JSON file: an array of rows, as pandas writes it, or an object with only "rows".

    Raises what `read_json_rows` does.
    """
    return _parse_rows(_find_rows_of_file(JsonScanner(stream, spec.max_row_bytes)), spec)


def _parse_rows(texts: Iterator[Rows], spec: RowSpec) -> Iterator[Matrix]:
    def parse() -> Iterator[Piece]:
        parser = JsonRowParser(spec)
        count = 0
        for rows in texts:
            yield parser.parse(rows.text, count)
            count += rows.count

    return gather_chunks(parse(), spec)


def _find_rows_of_file(scanner: JsonScanner) -> Iterator[Rows]:
    if scanner.peek() == ord("["):
        yield from scanner.take_rows()
        _check_end(scanner)
        return
    for name, taken in _walk(scanner):
        if not isinstance(taken, Rows):
            raise UnprocessableError(f'A file of rows holds only "rows": remove "{name}".')
        yield taken


def _walk(scanner: JsonScanner) -> Iterator[tuple[str, Any]]:
    """Yield the body's members: ("rows", some Rows) repeatedly, (name, value) for each option."""
    start = scanner.peek()
    if start is None:
        raise UnreadableBodyError(f"The body is empty: {_SHAPE}.")
    if start != ord("{") and start in VALUE_STARTS:
        raise UnprocessableError(f"The body must be a JSON object: {_SHAPE}.")
    scanner.take(b"{", "where the body begins")
    if scanner.peek() == ord("}"):
        raise UnprocessableError(f'The body is an empty object, "rows" is missing: {_SHAPE}.')
    seen: set[str] = set()
    following = None
    while following != ord("}"):
        name = _read_name(scanner, seen)
        if name != "rows":
            yield name, _read_option(scanner, name)
        elif (start := scanner.peek()) == ord("{"):
            yield name, scanner.take_single_row()
        elif start == ord("[") or start not in VALUE_STARTS:
            yield from (("rows", rows) for rows in scanner.take_rows())
        else:
            raise UnprocessableError(f'"rows" must be an array of rows, or one row as an object: {_SHAPE}.')
        following = scanner.take(b",}", f'after "{name}"')
    if "rows" not in seen:
        raise UnprocessableError(f'"rows" is missing: {_SHAPE}.')
    _check_end(scanner)


def _check_end(scanner: JsonScanner) -> None:
    if scanner.peek() is not None:
        raise scanner.unreadable("more text follows its end; send one JSON value")


def _read_name(scanner: JsonScanner, seen: set[str]) -> str:
    where = "where a member's name begins"
    scanner.expect(b'"', where)
    text = scanner.take_scalar(where)
    try:
        name = orjson.loads(text)
    except orjson.JSONDecodeError as fault:
        raise scanner.unreadable(f"the member's name before it is not a JSON string ({fault})") from fault
    if name != "rows" and name not in OPTIONS:
        raise UnprocessableError(f"Unknown member {quote(name)} in the body: {_SHAPE}.")
    if name in seen:
        raise UnprocessableError(f'The body has "{name}" more than once: send it once.')
    seen.add(name)
    scanner.take(b":", f'after the name "{name}"')
    return str(name)


def _read_option(scanner: JsonScanner, name: str) -> Any:
    expected, kind = OPTIONS[name]
    start = scanner.peek()
    if start in {ord("["), ord("{")}:
        raise UnprocessableError(f'"{name}" must be {kind}: {_SHAPE}.')
    if start not in VALUE_STARTS:
        scanner.expect(b'"', f'where the value of "{name}" begins')
    text = scanner.take_scalar(f'in "{name}"')
    shown = text[:40].decode(errors="replace")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as fault:
        raise UnreadableBodyError(
            f'The value of "{name}", {shown}, is not valid JSON: send {kind}.'
        ) from fault
    if value is not None and type(value) is not expected:
        raise UnprocessableError(f'"{name}" must be {kind}, not {shown}.')
    return value
