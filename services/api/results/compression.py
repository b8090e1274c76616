"""gzip for an answer that is made as a stream."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: zlib's level: numbers shrink little more above it, and take much longer.
_LEVEL = 4

#: zlib's window with a gzip header and trailer around it.
_GZIP_WINDOW = 31


def gzip_stream(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Compress chunks as they come, as one gzip member."""
    packer = zlib.compressobj(_LEVEL, wbits=_GZIP_WINDOW)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()
