"""What a connection's answers hold in memory while they wait for their client, and how they are moved to a file.

waitress sends from a buffer by moving a position in it: what is sent stays in memory until the whole buffer goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from waitress.buffers import OverflowableBuffer


def bytes_in_memory(outbufs: Iterable[Any]) -> int:
    """Return how many bytes these buffers hold in memory, those that are sent already among them."""
    return sum(outbuf.buf.remain + outbuf.buf.file.tell() for outbuf in outbufs if _is_in_memory(outbuf))


def move_to_files(outbufs: Iterable[Any]) -> None:
    """Let these buffers wait in files; small ones, of some KB, stay where they are.

    Where the disk takes no more they stay, too: an answer that is made shall arrive.
    """
    for outbuf in outbufs:
        if _is_in_memory(outbuf):
            memory = outbuf.buf.file
            sent = memory.tell()
            try:
                outbuf._set_large_buffer()  # noqa: SLF001  # as waitress does itself where one alone grows too large
            except OSError:
                memory.seek(sent)


def _is_in_memory(outbuf: Any) -> bool:
    return isinstance(outbuf, OverflowableBuffer) and outbuf.buf is not None and not outbuf.overflowed
