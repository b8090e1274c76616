"""A body in chunks, whose framing is bounded."""

from __future__ import annotations

import re
from typing import Any

from waitress.parser import ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.rfc7230 import CHUNK_EXT_RE

#: Bytes of a line between chunks; and of all extensions and the trailer of a body.
LINE_BYTES, FRAMING_BYTES = 1024, 16 * 1024

_PLAIN_SIZE_LINE = re.compile(rb"([1-9a-fA-F][0-9a-fA-F]{0,3})\r\n")
_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,16})(.*)\r\n")


class ChunkedBody(ChunkedReceiver):  # type: ignore[misc]  # waitress has no types
    """Reads a chunked body; waitress bounds neither the lines between chunks nor the trailer."""

    buf: Any
    completed: bool
    chunk_remainder: int
    _line = b""
    _in_trailer = False
    _framing = 0

    def received(self, data: bytes) -> int:
        """Take bytes; return how many belong to the body. Raises ParsingError."""
        position, content = 0, list[bytes]()
        while position < len(data) and not self.completed:
            if self.chunk_remainder:
                piece = data[position : position + self.chunk_remainder]
                content.append(piece)
                self.chunk_remainder -= len(piece)
                self.validate_chunk_end = True
            else:
                piece = data[position : data.find(b"\n", position) + 1 or len(data)]
                self._line += piece
                if len(self._line) > LINE_BYTES:
                    raise ParsingError("a line between chunks is too long")
                if self._line.endswith(b"\n"):
                    self._read_line(self._line)
                    self._line = b""
            position += len(piece)
            if not (self.chunk_remainder or self.validate_chunk_end or self._line or self._in_trailer):
                position = _take_plain_chunks(data, position, content)
        self.buf.append(b"".join(content))  # a file would need several system calls for each
        return position

    def _read_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n") or (self.validate_chunk_end and line != b"\r\n"):
            raise ParsingError("a chunk does not end where its size says")
        if self.validate_chunk_end:
            self.validate_chunk_end = False
        elif self._in_trailer:
            self._framing += len(line)
            self.completed = line == b"\r\n"
        elif (parts := _SIZE_LINE.fullmatch(line)) and CHUNK_EXT_RE.match(parts[2]):
            self._framing += len(parts[2])
            self.chunk_remainder = int(parts[1], 16)
            self._in_trailer = not self.chunk_remainder
        else:
            raise ParsingError("a chunk's size or extension is malformed")
        if self._framing > FRAMING_BYTES:
            raise ParsingError("the extensions or the trailer of the chunks are too long")


def _take_plain_chunks(data: bytes, position: int, content: list[bytes]) -> int:
    """Take the whole plain chunks that come next, quickly; return their end."""
    while size_line := _PLAIN_SIZE_LINE.match(data, position):
        end = size_line.end() + int(size_line[1], 16)
        if not data.startswith(b"\r\n", end):
            break
        content.append(data[size_line.end() : end])
        position = end + 2
    return position
