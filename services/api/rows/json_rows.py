"""A JSON body, `{"model": …, "rows": […], "method": …, …}`, read as a stream in two passes: options, then rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from services.api.rows.chunks import Piece, gather_chunks
from services.api.rows.faults import quote, too_many_rows
from services.api.rows.json_scanner import VALUE_STARTS, JsonScanner, Rows
from services.api.rows.json_values import JsonRowParser
from shared.errors import UnprocessableError, UnreadableBodyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from services.api.rows.row_spec import RowSpec

#: Bytes a row may take while its model, and so its length, is not known.
_ANY_ROW_BYTES = 8 * 1024 * 1024

#: Bytes of rows that are parsed together.
_TEXT_AT_ONCE = 256 * 1024

#: What the options beside the rows are, and how their values begin; null leaves each out.
OPTIONS: dict[str, tuple[type, str, bytes]] = {
    "model": (str, "a text", b'"n'),
    "method": (str, "a text", b'"n'),
    "interactions": (bool, "true or false", b"tfn"),
    "top_pairs": (int, "a whole number", b"-0123456789n"),
}

_SHAPE = 'send {"model": "NAME", "rows": [[1.5, null, …], …], "method": "tree_path_dependent"}'


@dataclass(frozen=True, slots=True)
class BodyOptions:
    """What a JSON body says beside its rows; None for what it leaves out."""

    model: str | None = None
    method: str | None = None
    interactions: bool | None = None
    top_pairs: int | None = None


def read_json_options(stream: BinaryIO, max_rows: int | None = None) -> BodyOptions:
    """Read the options of a JSON body, skipping over its rows; the whole body is checked for its outline.

    Seek back before reading the rows. Raises UnreadableBodyError for what is not JSON, UnprocessableError for
    unknown, doubled and missing members, InvalidRowsError for rows that are not flat, and TooManyRowsError
    beyond `max_rows`, if given.
    """
    options: dict[str, Any] = {}
    rows = 0
    for name, value in _walk(JsonScanner(stream, _ANY_ROW_BYTES)):
        if not isinstance(value, Rows):
            options[name] = _read_option(name, value)
            continue
        rows += value.count
        if max_rows is not None and rows > max_rows:
            raise too_many_rows(max_rows)
    return BodyOptions(**options)


def read_json_rows(stream: BinaryIO, spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    """Read the rows of a JSON body in chunks of float32, C-contiguous, `spec.chunk_rows` x features.

    A row is an array in feature order or an object by name; `null` and NaN are missing, true and false are 1 and 0, and a category
    is given by its label. An object in place of the array of rows is a single row. Raises UnreadableBodyError,
    UnprocessableError, InvalidRowsError and TooManyRowsError.
    """
    return gather_chunks(_read_pieces(stream, spec), spec)


def read_json_file(stream: BinaryIO, spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    """Read a JSON file: an array of rows, as pandas writes it, or an object that holds nothing but "rows".

    Raises what `read_json_rows` does.
    """
    return gather_chunks(_parse_rows(_find_rows_of_file(JsonScanner(stream, spec.max_row_bytes)), spec), spec)


def _find_rows_of_file(scanner: JsonScanner) -> Iterator[Rows]:
    if scanner.peek() == ord("["):
        yield from scanner.take_rows()
        _check_end(scanner)
        return
    for name, taken in _walk(scanner):
        if not isinstance(taken, Rows):
            raise UnprocessableError(
                f'A file of rows holds "rows" alone, and this one has "{name}" too: remove it.'
            )
        yield taken


def _read_pieces(stream: BinaryIO, spec: RowSpec) -> Iterator[Piece]:
    members = _walk(JsonScanner(stream, spec.max_row_bytes))
    return _parse_rows((taken for _, taken in members if isinstance(taken, Rows)), spec)


def _parse_rows(texts: Iterator[Rows], spec: RowSpec) -> Iterator[Piece]:
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


def _walk(scanner: JsonScanner) -> Iterator[tuple[str, bytes | Rows]]:
    """Yield the body's members: ("rows", some of them) again and again, (name, text) for each option."""
    _enter(scanner)
    seen: set[str] = set()
    while True:
        name = _read_name(scanner, seen)
        if name != "rows":
            yield name, _take_option(scanner, name)
        elif (start := scanner.peek()) == ord("{"):
            yield name, scanner.take_single_row()
        elif start == ord("[") or start not in VALUE_STARTS:
            yield from (("rows", rows) for rows in scanner.take_rows())
        else:
            raise UnprocessableError(f'"rows" must be an array of rows, or one row as an object: {_SHAPE}.')
        if scanner.take(b",}", f'after "{name}"') == ord("}"):
            break
    if "rows" not in seen:
        raise UnprocessableError(f'"rows" is missing: {_SHAPE}.')
    _check_end(scanner)


def _check_end(scanner: JsonScanner) -> None:
    if scanner.peek() is not None:
        raise scanner.unreadable("something follows its end")


def _enter(scanner: JsonScanner) -> None:
    start = scanner.peek()
    if start is None:
        raise UnreadableBodyError(f"The body is empty: {_SHAPE}.")
    if start != ord("{") and start in VALUE_STARTS:
        raise UnprocessableError(f"The body must be a JSON object: {_SHAPE}.")
    scanner.take(b"{", "where the body begins")
    if scanner.peek() == ord("}"):
        raise UnprocessableError(f'The body is an empty object, "rows" is missing: {_SHAPE}.')


def _read_name(scanner: JsonScanner, seen: set[str]) -> str:
    text = scanner.take_text("where a member's name begins")
    name = _parse(scanner, text)
    if name != "rows" and name not in OPTIONS:
        raise UnprocessableError(f"The body has no member {quote(name)}: {_SHAPE}.")
    if name in seen:
        raise UnprocessableError(f'The body has "{name}" more than once: send it once.')
    seen.add(name)
    scanner.take(b":", f'after the name "{name}"')
    return name


def _take_option(scanner: JsonScanner, name: str) -> bytes:
    start = scanner.peek()
    _, what, starts = OPTIONS[name]
    if start is not None and start in starts:
        take = scanner.take_text if start == ord('"') else scanner.take_word
        return take(f'in "{name}"')
    if start is None or start not in VALUE_STARTS:
        scanner.take(b'"', f'where the value of "{name}" begins')
    raise UnprocessableError(f'"{name}" must be {what}: {_SHAPE}.')


def _read_option(name: str, text: bytes) -> Any:
    if text == b"null":
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as fault:
        raise UnreadableBodyError(f'The value of "{name}", {quote(text)}, is not JSON.') from fault
    kind, what, _ = OPTIONS[name]
    if type(value) is not kind:
        raise UnprocessableError(f'"{name}" must be {what}, not {quote(text)}.')
    return value


def _parse(scanner: JsonScanner, text: bytes) -> str:
    try:
        return str(orjson.loads(text))
    except orjson.JSONDecodeError as fault:
        raise scanner.unreadable(f"the member's name before is not a JSON text ({fault})") from fault
