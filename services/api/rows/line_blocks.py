"""A body's bytes in blocks that end where a line ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from services.api.rows.row_spec import BLOCK_BYTES

#: The byte-order mark that some programs write before UTF-8.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class LineTooLongError(Exception):
    """A line does not end within the limit. A reader reports it with the row's number."""


def read_first_block(stream: BinaryIO) -> bytes:
    """Read the first bytes of a text, without a byte-order mark."""
    block = stream.read(BLOCK_BYTES)
    while 0 < len(block) < len(_BYTE_ORDER_MARK) and (more := stream.read(BLOCK_BYTES)):
        block += more
    return block.removeprefix(_BYTE_ORDER_MARK)


def read_line_blocks(stream: BinaryIO, max_line_bytes: int) -> Iterator[bytes]:
    """Yield blocks of whole lines, without a byte-order mark; the last may lack its newline.

    Holds at most one line of `max_line_bytes` and one block. Raises LineTooLongError for a longer line.
    """
    rest = read_first_block(stream)
    while True:
        end = rest.rfind(b"\n") + 1
        if end:
            yield rest[:end]
            rest = rest[end:]
        elif len(rest) > max_line_bytes:
            raise LineTooLongError
        # The size doubles, so that a long line is copied a few times only.
        block = stream.read(max(BLOCK_BYTES, min(len(rest), max_line_bytes)))
        if not block:
            break
        rest += block
    if rest:
        yield rest
