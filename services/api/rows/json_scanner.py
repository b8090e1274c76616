"""Finds members and rows of a JSON body in a stream, without parsing or holding all of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from services.api.rows.faults import invalid_row, row_too_long
from services.api.rows.line_blocks import read_first_block
from services.api.rows.row_spec import BLOCK_BYTES
from shared.errors import UnreadableBodyError

#: Bytes with which a JSON value can begin.
VALUE_STARTS = frozenset(b'{["-0123456789tfn')

#: An array or object up to its end, or up to a nested one. None of these patterns ever backtracks.
_INSIDE = rb'[\[{][^\[\]{}"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^\[\]{}"]*+)*+'
_ROW_START = re.compile(_INSIDE, re.DOTALL)
_ROW = re.compile(_INSIDE + rb"[\]}]", re.DOTALL)
_ROWS = re.compile(_ROW.pattern + rb"(?:[ \t\r\n]*+,[ \t\r\n]*+" + _ROW.pattern + rb")*+", re.DOTALL)

#: All bytes but those that delimit rows and texts, and the delimiters of rows whose texts hold none.
_CONTENT = bytes(set(range(256)) - set(b'[]{}"\\'))
_USUAL_DELIMITERS = re.compile(rb'(?:[\[{](?:"")*+[\]}])++')

#: The bytes between the contents of two rows, in an array and on lines.
BETWEEN_ROWS = re.compile(rb"[\]}][ \t\r\n]*+,[ \t\r\n]*+[\[{]")
BETWEEN_LINES = re.compile(rb"[\]}]\r?\n[\[{]")

_SPACE = re.compile(rb"[ \t\r\n]*+")
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_WORD = re.compile(rb"[^\s,\]}]*+")

_NESTED = "the row holds an array or object; a row is flat: numbers, labels, true, false and null"

#: Bytes of a member's name or text, at most.
_TEXT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Rows:
    """The text of some flat rows (arrays or objects) with commas between."""

    text: bytes
    count: int


def count_rows(text: bytes, between: re.Pattern[bytes] = BETWEEN_ROWS) -> int:
    """Count the rows of a text that is nothing but flat rows, all separated alike.

    Returns 0 for other text, or unusual rows. Searching for single bytes is five times faster than matching rows.
    """
    delimiters = text.translate(None, _CONTENT)
    if not _USUAL_DELIMITERS.fullmatch(delimiters) or text[:1] not in b"[{" or text[-1:] not in b"]}":
        return 0
    count = delimiters.count(b"]") + delimiters.count(b"}")
    separator = between.search(text)
    alike = text.count(separator[0]) if separator else 0
    return count if alike == count - 1 else 0


def split_rows(text: bytes) -> list[bytes]:
    """Split a text of flat rows with commas between."""
    return _ROW.findall(text)


class JsonScanner:
    """Walks over the bytes of one JSON body. A row may take `max_row_bytes`."""

    def __init__(self, stream: BinaryIO, max_row_bytes: int) -> None:
        self._stream = stream
        self._limit = max_row_bytes
        self._buffer = read_first_block(stream)
        self._at = 0
        self._dropped = 0

    def peek(self) -> int | None:
        """Return the next byte that is not white space, None at the end."""
        while True:
            self._at = _SPACE.match(self._buffer, self._at).end()  # type: ignore[union-attr]  # matches always
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._fill():
                return None

    def expect(self, expected: bytes, where: str) -> int:
        """Return the next byte, one of `expected`. Raises UnreadableBodyError for any other."""
        byte = self.peek()
        if byte is None:
            raise self._cut_off(where)
        if byte not in expected:
            choices = " or ".join(repr(chr(choice)) for choice in expected)
            raise self.unreadable(f"expected {choices} {where}, found {chr(byte)!r}")
        return byte

    def take(self, expected: bytes, where: str) -> int:
        """Step over the next byte, one of `expected`, and return it."""
        byte = self.expect(expected, where)
        self._at += 1
        return byte

    def take_scalar(self, where: str) -> bytes:
        """Step over a JSON string, returned with its quotes, or a literal such as `null`."""
        pattern = _TEXT if self.peek() == ord('"') else _WORD
        while True:
            match = pattern.match(self._buffer, self._at)
            if match and (pattern is _TEXT or match.end() < len(self._buffer)):
                self._at = match.end()
                return match[0]
            if len(self._buffer) - self._at > _TEXT_BYTES:
                raise self.unreadable(f"a text or word of more than {_TEXT_BYTES} bytes {where}")
            if not self._fill():
                raise self._cut_off(where)

    def take_rows(self) -> Iterator[Rows]:
        """Step over the array of rows, yielding all whole rows that are in memory.

        Raises InvalidRowsError for a row that is no flat array or object, or too long.
        """
        self.take(b"[", "where the rows begin")
        row = 0
        if self.peek() == ord("]"):
            self._at += 1
            return
        while True:
            rows = self._take_usual_rows() or self._take_any_rows(row, _ROWS, _NESTED)
            yield rows
            row += rows.count
            if self.take(b",]", f"after row {row - 1}") == ord("]"):
                return

    def take_single_row(self) -> Rows:
        """Step over one object by name in place of the array of rows."""
        nested = (
            "the row holds an array or object; send an array of rows, as to_dict(orient='records') makes it"
        )
        return self._take_any_rows(0, _ROW, nested)

    def unreadable(self, what: str) -> UnreadableBodyError:
        """Make the error that names this place."""
        place = self._dropped + self._at
        return UnreadableBodyError(f"The body is not valid JSON at byte {place}: {what}.")

    def _take_usual_rows(self) -> Rows | None:
        """Step over the rows in memory, but the last one, if they are usual."""
        # No more than the longest row is kept in memory unread.
        if self._find_last_row() < 0 and len(self._buffer) - self._at < self._limit:
            self._fill()
        text = self._buffer[self._at : max(self._find_last_row(), 0)].rstrip(b", \t\r\n")
        count = count_rows(text)
        if not count:
            return None
        self._at += len(text)
        return Rows(text, count)

    def _find_last_row(self) -> int:
        """Return the place of the last row in memory, or -1 if there is only one.

        It may have no end yet.
        """
        self.peek()
        start = self._buffer[self._at : self._at + 1]
        return self._buffer.rfind(start, self._at + 1, self._at + self._limit)

    def _take_any_rows(self, row: int, pattern: re.Pattern[bytes], nested: str) -> Rows:
        """Step over whole rows, at least one.

        Raises the fault of the first, which has the number `row`.
        """
        start = self.peek()
        if start is not None and start not in b"[{":
            if start not in VALUE_STARTS:
                self.expect(b"[{", f"where row {row} begins")
            raise invalid_row(
                row, "a row is an array or an object by name; put even a single row in its own brackets"
            )
        while True:
            limit = self._at + self._limit
            if match := pattern.match(self._buffer, self._at, limit):
                self._at = match.end()
                # A list of short ones takes twenty times the bytes of their text.
                return Rows(match[0], sum(1 for _ in _ROW.finditer(match[0])))
            inside = _ROW_START.match(self._buffer, self._at, limit)
            if inside and self._buffer[inside.end() : inside.end() + 1] in {b"[", b"{"}:
                raise invalid_row(row, nested)
            if len(self._buffer) > limit:
                raise row_too_long(row, self._limit)
            if not self._fill():
                raise self._cut_off(f"in row {row}")

    def _cut_off(self, where: str) -> UnreadableBodyError:
        total = self._dropped + len(self._buffer)
        return UnreadableBodyError(
            f"The body is cut off after {total} bytes, {where}: send it again in full."
        )

    def _fill(self) -> bool:
        """Read on, keeping the bytes not yet walked over. False at the end of the body."""
        rest = self._buffer[self._at :]
        # The size doubles, so that a long row is copied and searched a few times only.
        block = self._stream.read(max(BLOCK_BYTES, len(rest)))
        self._dropped += self._at
        self._at = 0
        self._buffer = rest + block
        return bool(block)
