"""Byte ranges of results (RFC 9110, section 14): a broken download goes on where it ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from shared.errors import HttpError, ShapboxError

#: One range of bytes. Lists of ranges and other units are ignored, as the RFC allows.
_RANGE = re.compile(r"bytes=(\d{0,40})-(\d{0,40})", re.ASCII | re.IGNORECASE)


class RangeNotSatisfiableError(ShapboxError, status=416, title="The range is beyond the result"):
    """No byte of the result is in the range that was requested."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A range as requested: `first` to `last`, or the last `last` bytes without `first`."""

    first: int | None
    last: int | None

    @classmethod
    def parse(cls, header: str) -> Self | None:
        """Return the range in a Range header; None if the whole result is to be sent."""
        match = _RANGE.fullmatch(header.strip())
        if match is None:
            return None
        first, last = (int(text) if text else None for text in match.groups())
        backwards = first is not None and last is not None and last < first
        return None if backwards or (first is None and last is None) else cls(first, last)

    def of(self, length: int) -> range:
        """Return the requested places of a body. Raises RangeNotSatisfiableError if there are none."""
        if self.first is None:
            part = range(max(0, length - (self.last or 0)), length)
        else:
            part = range(self.first, length if self.last is None else min(self.last + 1, length))
        if not part:
            raise RangeNotSatisfiableError(
                f"The result has {length} bytes, and none of them is in the range."
            )
        return part


def cut(chunks: Iterable[bytes], part: range, client_left: Callable[[], bool]) -> Iterator[bytes]:
    """Yield the bytes of a part, and drop those before it while the client is there."""
    position = 0
    for chunk in chunks:
        piece = chunk[max(0, part.start - position) : part.stop - position]
        position += len(chunk)
        if piece:
            yield piece
        else:
            _require_client(client_left)
        if position >= part.stop:
            return


def measure(chunks: Iterable[bytes], client_left: Callable[[], bool]) -> int:
    """Return the number of bytes of all chunks, which are dropped."""
    length = 0
    for chunk in chunks:
        _require_client(client_left)
        length += len(chunk)
    return length


def _require_client(client_left: Callable[[], bool]) -> None:
    if client_left():
        raise HttpError(408, "request-timeout", "The client has closed its connection.")
