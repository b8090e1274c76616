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

#: An array or object up to its end, or up to a nested one. It never backtracks.
FLAT_ROW = re.compile(rb'[\[{](?:[^\[\]{}"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)

#: The separator of two plain rows.
BETWEEN_ROWS = re.compile(rb"\][ \t\r\n]*,[ \t\r\n]*\[")

#: The usual ways to write that, which are found faster.
_USUAL_SEPARATORS = (b"],[", b"], [", b"],\n[")

#: The bytes of numbers, `null`, separators and white space: all but the brackets of plain rows.
_PLAIN_BYTES = b"0123456789+-.eE, \t\r\nnul"

_SPACE = re.compile(rb"[ \t\r\n]*+")
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_WORD = re.compile(rb"[^\s,\]}]*+")

_NESTED = "the row holds an array or object; a row is flat: numbers, labels, true, false and null"

#: Bytes of a member's name or text, at most.
_TEXT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Rows:
    """The text of one row (array or object), or of `count` plain arrays with commas between."""

    text: bytes
    count: int


def count_plain_rows(text: bytes) -> int:
    """Count the rows of a text of flat plain arrays with commas between; 0 for other text."""
    brackets = text.translate(None, _PLAIN_BYTES)
    rows = len(brackets) // 2
    if not text.startswith(b"[") or not text.endswith(b"]") or brackets != b"[]" * rows:
        return 0
    if any(text.count(separator) == rows - 1 for separator in _USUAL_SEPARATORS):
        return rows
    return rows if len(BETWEEN_ROWS.findall(text)) == rows - 1 else 0


class JsonScanner:
    """Walks over the bytes of one JSON body. A row may take `max_row_bytes`."""

    def __init__(self, stream: BinaryIO, max_row_bytes: int) -> None:
        self._stream = stream
        self._limit = max_row_bytes
        self._buffer = read_first_block(stream)
        self._at = 0
        self._dropped = 0
        #: Up to here the buffer is known not to be plain rows.
        self._not_plain_to = 0

    @property
    def offset(self) -> int:
        """Bytes walked over so far."""
        return self._dropped + self._at

    def peek(self) -> int | None:
        """Return the next byte that is not white space, None at the end."""
        if self._at < len(self._buffer) and (byte := self._buffer[self._at]) > ord(" "):
            return byte
        while True:
            self._at = _SPACE.match(self._buffer, self._at).end()  # type: ignore[union-attr]  # matches always
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._fill():
                return None

    def take(self, expected: bytes, where: str) -> int:
        """Step over the next byte, one of `expected`. Raises UnreadableBodyError for any other."""
        byte = self.peek()
        if byte is None:
            raise self._cut_off(where)
        if byte not in expected:
            choices = " or ".join(repr(chr(choice)) for choice in expected)
            raise self.unreadable(f"expected {choices} {where}, found {chr(byte)!r}")
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
        """Step over the array of rows, yielding their texts, many at once if they are plain.

        Raises InvalidRowsError for a row that is no flat array or object, or too long.
        """
        self.take(b"[", "where the rows begin")
        row = 0
        if self.peek() == ord("]"):
            self._at += 1
            return
        while True:
            rows = self._take_plain_rows() or Rows(self._take_row(row), 1)
            yield rows
            row += rows.count
            if self.take(b",]", f"after row {row - 1}") == ord("]"):
                return

    def take_single_row(self) -> Rows:
        """Step over one object by name in place of the array of rows."""
        nested = (
            "the row holds an array or object; send an array of rows, as to_dict(orient='records') makes it"
        )
        return Rows(self._take_row(0, nested), 1)

    def unreadable(self, what: str) -> UnreadableBodyError:
        """Make the error that names this place."""
        return UnreadableBodyError(f"The body is not valid JSON at byte {self.offset}: {what}.")

    def _take_plain_rows(self) -> Rows | None:
        """Step over all whole rows in the buffer if they are plain; otherwise return None once."""
        if self.peek() != ord("[") or self._at < self._not_plain_to:
            return None
        if self._buffer.find(b"]", self._at) < 0:
            self._fill()
        stop = self._buffer.rfind(b"]", self._at, self._at + self._limit) + 1
        text = self._buffer[self._at : stop]
        count = count_plain_rows(text)
        if not count:  # the last bracket may be that of the whole array
            text = text[: text.rfind(b"]", 0, -1) + 1]
            count = count_plain_rows(text)
        if not count:
            self._not_plain_to = stop
            return None
        self._at += len(text)
        return Rows(text, count)

    def _take_row(self, row: int, nested: str = _NESTED) -> bytes:
        start = self.peek()
        if start is not None and start not in b"[{":
            if start not in VALUE_STARTS:
                self.take(b"[{", f"where row {row} begins")
            raise invalid_row(
                row, "a row is an array or an object by name; put even a single row in its own brackets"
            )
        while True:
            end, stop = self._find_end(start)
            if stop in {b"]", b"}"}:
                text = self._buffer[self._at : end + 1]
                if len(text) > self._limit:
                    raise row_too_long(row, self._limit)
                self._at = end + 1
                return text
            if stop in {b"[", b"{"}:
                raise invalid_row(row, nested)
            if len(self._buffer) - self._at > self._limit:
                raise row_too_long(row, self._limit)
            if not self._fill():
                raise self._cut_off(f"in row {row}")

    def _find_end(self, start: int | None) -> tuple[int, bytes]:
        """Return where the row stops being flat, and the byte there: its end, or an invalid one."""
        end = self._buffer.find(b"}" if start == ord("{") else b"]", self._at)
        text = self._buffer[self._at : end + 1]
        # Searching for bytes is ten times faster than the pattern, and enough for nearly every row.
        if (
            end >= 0
            and not text.count(b'"') % 2
            and b"\\" not in text
            and text.rfind(b"[") <= 0
            and text.rfind(b"{") <= 0
        ):
            return end, self._buffer[end : end + 1]
        match = FLAT_ROW.match(self._buffer, self._at)
        end = match.end() if match else self._at
        return end, self._buffer[end : end + 1]

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
        self._at = self._not_plain_to = 0
        self._buffer = rest + block
        return bool(block)
