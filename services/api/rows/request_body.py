"""The body of one request with rows: opened once, read as often as needed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from services.api.rows.body import Reservation, open_body
from services.api.rows.json_rows import BodyOptions, read_json_options
from services.api.rows.media_types import Reader, choose_reader
from services.api.rows.plain_body import PlainBody, read_plain_body
from services.api.rows.row_spec import BLOCK_BYTES, RowSpec

type Matrix = NDArray[np.float32]


class Digest(Protocol):
    """A hash of `hashlib`."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""
        ...


class RequestBody:
    """Rows and options of one request. Nothing is read or unpacked before it is asked for.

    Each attribute and method may raise what is wrong with the body: UnreadableBodyError, BodyTooLargeError,
    UnsupportedMediaTypeError, UnprocessableError, InvalidRowsError, TooManyRowsError or StorageFullError.
    """

    def __init__(
        self, stream: BinaryIO, reader: Reader, unpack: Callable[[], BinaryIO], max_rows: int | None = None
    ) -> None:
        self.reader = reader
        self._stream = stream
        self._unpack = unpack
        self._max_rows = max_rows

    @property
    def options_in_body(self) -> bool:
        """Whether the options stand beside the rows; otherwise they are in the query."""
        return self.reader.options_in_body

    @cached_property
    def size(self) -> int:
        """Bytes of the unpacked body."""
        return self._unpacked.seek(0, os.SEEK_END)

    @cached_property
    def options(self) -> BodyOptions:
        """The options beside the rows of a JSON body; no options for other formats."""
        if not self.options_in_body:
            return BodyOptions()
        if self._plain is not None:
            return self._plain.options
        return read_json_options(self._rewind(), self._max_rows)

    def chunks(self, spec: RowSpec) -> Iterator[Matrix]:
        """Read the rows from the start, in C-contiguous chunks of float32, `spec.chunk_rows` x features.

        May be called again, which ends the previous iteration.
        """
        if self._plain is not None and self._plain.fits(spec):
            return self._plain.read(spec)
        return self.reader.read(self._rewind(), spec)

    def update_digest(self, digest: Digest) -> None:
        """Feed the body as received, without unpacking it."""
        self._stream.seek(0)
        while block := self._stream.read(4 * BLOCK_BYTES):
            digest.update(block)

    @cached_property
    def _unpacked(self) -> BinaryIO:
        self._stream.seek(0)
        return self._unpack()

    @cached_property
    def _plain(self) -> PlainBody | None:
        return read_plain_body(self._rewind()) if self.options_in_body else None

    def _rewind(self) -> BinaryIO:
        self._unpacked.seek(0)
        return self._unpacked


@contextlib.contextmanager
def open_request_body(
    stream: BinaryIO,
    content_type: str | None,
    content_encoding: str | None,
    max_bytes: int,
    folder: Path | None = None,
    *,
    max_rows: int | None = None,
    reservation: Reservation | None = None,
) -> Iterator[RequestBody]:
    """Open a seekable body. A temporary file in `folder`, which a gzip body may need, is closed at the end.

    The unpacked body may take `max_bytes`; `reservation` is told of each block of it before it is written, and may
    refuse it. `max_rows` bounds the rows that are skipped while the options are read. Raises UnsupportedMediaTypeError.
    """
    reader = choose_reader(content_type)
    with contextlib.ExitStack() as opened:

        def unpack() -> BinaryIO:
            body = open_body(stream, content_encoding, max_bytes, folder, reservation)
            if body is not stream:
                opened.callback(body.close)
            return body

        yield RequestBody(stream, reader, unpack, max_rows)
