"""A body in chunks, whose framing is bounded."""

from __future__ import annotations

from typing import Any

from waitress.parser import ParsingError
from waitress.receiver import ChunkedReceiver

#: Bytes of a line with a chunk's size; and of all that a chunked body has beyond twice its content.
CHUNK_LINE_BYTES, FRAMING_BYTES = 1024, 16 * 1024


class ChunkedBody(ChunkedReceiver):  # type: ignore[misc]  # waitress has no types
    """Reads a chunked body; waitress bounds neither the lines between chunks nor the trailer."""

    buf: Any
    _framing = 0

    def received(self, data: bytes) -> int:
        """Take bytes; return how many belong to the body. Raises ParsingError."""
        pieces: list[bytes] = []
        position, buf, self.buf = 0, self.buf, pieces  # a file would need several system calls for each
        try:
            while position < len(data) and not self.completed:
                end = position + (self.chunk_remainder or CHUNK_LINE_BYTES // 2)
                position += super().received(data[position:end])
                if self.error or len(self.control_line) > CHUNK_LINE_BYTES // 2:
                    raise ParsingError(self.error.body if self.error else "a chunk's line is too long")
        finally:
            self.buf = buf
        buf.append(b"".join(pieces))
        self._framing += position - sum(len(piece) for piece in pieces)
        if self._framing > FRAMING_BYTES + len(buf):
            raise ParsingError("the chunks are too small, or their extensions or the trailer too long")
        return position
