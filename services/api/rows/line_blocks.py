"""A body's bytes in blocks that end where a line ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from services.api.rows.row_spec import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The byte-order mark that some programs write before UTF-8.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class LineTooLongError(Exception):
    """A line does not end within the limit. The reader that knows the row turns it into what a client reads."""


def read_first_block(stream: BinaryIO, size: int) -> bytes:
    """Read the first bytes of a text, at least one if there is one, without a byte-order mark."""
    block = stream.read(size)
    while block and len(block) <= len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(block[:3]):
        more = stream.read(size)
        block += more
        if not more:
            break
    return block.removeprefix(_BYTE_ORDER_MARK)


def read_line_blocks(stream: BinaryIO, max_line_bytes: int) -> Iterator[bytes]:
    """Yield blocks of whole lines, each ending in a newline except perhaps the last; no byte-order mark.

    At most one line over `max_line_bytes` (and one block) is ever held: then LineTooLongError is raised.
    """
    rest = read_first_block(stream, BLOCK_BYTES)
    while True:
        end = rest.rfind(b"\n") + 1
        if end:
            yield rest[:end]
            rest = rest[end:]
        elif len(rest) > max_line_bytes:
            raise LineTooLongError
        # As much again as is held, so that a long line is copied a few times only.
        block = stream.read(max(BLOCK_BYTES, min(len(rest), max_line_bytes)))
        if not block:
            break
        rest += block
    if rest:
        yield rest
