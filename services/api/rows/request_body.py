"""The body of one request with rows: opened once, unpacked, and read as often as needed."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from services.api.rows.chunks import Matrix, Piece, gather_chunks
from services.api.rows.json_body import OPTIONS, BodyOptions, read_json_options
from services.api.rows.readers import choose_reader
from services.api.rows.row_spec import BLOCK_BYTES, RowSpec
from shared.errors import BodyTooLargeError, StorageFullError, UnreadableBodyError, UnsupportedMediaTypeError

if TYPE_CHECKING:
    from _hashlib import HASH

#: Bytes of an unpacked body that stay in memory; a larger one goes to a file without a name.
_IN_MEMORY_BYTES = 512 * 1024

#: The system's error numbers for a full disk.
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Reservation(Protocol):
    """Room on the disk that is kept for a request."""

    def take(self, nbytes: int) -> object:
        """Keep room for further bytes. Raises StorageFullError where there is none."""
        ...


class RequestBody:
    """Rows and options of one request, in a seekable stream.

    Nothing is read or unpacked before it is asked for. Each attribute and method may raise what is wrong with the body:
    UnreadableBodyError, BodyTooLargeError, UnsupportedMediaTypeError, UnprocessableError, InvalidRowsError,
    TooManyRowsError or StorageFullError.
    """

    def __init__(
        self,
        stream: BinaryIO,
        content_type: str | None,
        content_encoding: str | None,
        max_bytes: int,
        folder: Path | None = None,
        *,
        max_rows: int | None = None,
        reserve: Callable[[], Reservation] | None = None,
    ) -> None:
        """Use it in a `with` block, whose end closes the file in `folder` with unpacked gzip.

        The unpacked body may take `max_bytes`. `reserve` is called when it is unpacked, and its reservation is told of
        each block before it is written; both may refuse it. `max_rows` bounds the rows that are skipped while the
        options are read. Raises UnsupportedMediaTypeError.
        """
        self.reader = choose_reader(content_type)
        self._stream = stream
        self._unpack = partial(open_body, stream, content_encoding, max_bytes, folder, reserve)
        self._max_rows = max_rows
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._opened.close()

    @cached_property
    def size(self) -> int:
        """Bytes of the unpacked body."""
        return self._unpacked.seek(0, os.SEEK_END)

    @cached_property
    def options(self) -> BodyOptions:
        """The options beside the rows of a JSON body; no options for other formats."""
        if not self.reader.options_in_body:
            return BodyOptions()
        return self._plain.options if self._plain else read_json_options(self._rewind(), self._max_rows)

    def chunks(self, spec: RowSpec) -> Iterator[Matrix]:
        """Read the rows from the start, in C-contiguous float32, `spec.chunk_rows` x features.

        May be called again, which ends the previous iteration.
        """
        chunks = self._plain.read(spec) if self._plain else None
        return self.reader.read(self._rewind(), spec) if chunks is None else chunks

    def update_digest(self, digest: HASH) -> None:
        """Feed the body as received, without unpacking it."""
        self._stream.seek(0)
        while block := self._stream.read(4 * BLOCK_BYTES):
            digest.update(block)

    @cached_property
    def _unpacked(self) -> BinaryIO:
        body = self._unpack()
        if body is not self._stream:
            self._opened.enter_context(body)
        return body

    @cached_property
    def _plain(self) -> PlainBody | None:
        if not self.reader.options_in_body or self.size > BLOCK_BYTES:
            return None
        return parse_plain_body(self._rewind().read())

    def _rewind(self) -> BinaryIO:
        self._unpacked.seek(0)
        return self._unpacked


@dataclass(frozen=True, slots=True)
class PlainBody:
    """A small body with rows of numbers and nulls, all of one length, parsed in one call."""

    options: BodyOptions
    #: Rows x columns, NaN for null.
    numbers: NDArray[np.float64]

    def read(self, spec: RowSpec) -> Iterator[Matrix] | None:
        """Return the rows as `read_json_rows` does; None if only that can read or reject them."""
        table = spec.table
        if self.numbers.shape[1] != len(spec.features) or not table.takes_floats:
            return None
        piece = table.from_numbers(self.numbers) if table.has_categories else Piece(self.numbers)
        return gather_chunks([piece], spec)


def parse_plain_body(text: bytes) -> PlainBody | None:
    """Parse a plain body at once: known members, each once, and rows of numbers. Else None."""
    try:
        members = orjson.loads(text)
        if not isinstance(members, dict):
            return None
        texts = sum(isinstance(value, str) for value in members.values())
        # A member sent twice has quotes that are not in the result, and a text in a row has, too.
        if text.count(b'"') != 2 * (len(members) + texts):
            return None
        # A row's true and false would become numbers, and a message about one would not name it.
        if text.count(b"true") + text.count(b"false") > isinstance(members.get("interactions"), bool):
            return None
        numbers = np.array(members.pop("rows", None), dtype=np.float64)
    except (ValueError, TypeError):  # no JSON, or no matrix
        return None
    known = all(
        name in OPTIONS and (value is None or type(value) is OPTIONS[name][0])
        for name, value in members.items()
    )
    return (
        PlainBody(BodyOptions(**members), numbers) if known and numbers.ndim == 2 and numbers.size else None
    )


def open_body(
    stream: BinaryIO,
    content_encoding: str | None,
    max_bytes: int,
    folder: Path | None = None,
    reserve: Callable[[], Reservation] | None = None,
) -> BinaryIO:
    """Return a body as a seekable stream of unpacked bytes, at its start.

    It is `stream` itself if that is not packed.

    gzip (also of several members) is unpacked to a temporary file in `folder`, which the caller closes. Raises
    BodyTooLargeError beyond `max_bytes`, UnreadableBodyError for broken gzip, UnsupportedMediaTypeError for another
    encoding, and StorageFullError where the temporary file does not fit.
    """
    encoding = (content_encoding or "identity").strip().lower() or "identity"
    if encoding not in {"identity", "gzip", "x-gzip"}:
        raise UnsupportedMediaTypeError(
            f"Content-Encoding {encoding[:40]!r} is not supported: send gzip or no encoding."
        )
    if encoding == "identity" and stream.seek(0, os.SEEK_END) > max_bytes:
        raise _too_large(max_bytes)
    stream.seek(0)
    if encoding == "identity":
        return stream
    with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
        return _copy(unpacked, max_bytes, folder, reserve() if reserve else None)


def _copy(
    source: gzip.GzipFile, max_bytes: int, folder: Path | None, reservation: Reservation | None
) -> BinaryIO:
    with contextlib.ExitStack() as opened:
        copy = opened.enter_context(
            SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, dir=str(folder) if folder else None)
        )
        size = 0
        while block := _read_block(source):
            size += len(block)
            if size > max_bytes:
                raise _too_large(max_bytes)
            if reservation is not None:
                reservation.take(len(block))
            _write(copy, block)
        copy.seek(0)
        opened.pop_all()
    return cast("BinaryIO", copy)


def _write(copy: SpooledTemporaryFile[bytes], block: bytes) -> None:
    try:
        copy.write(block)
    except OSError as fault:
        if fault.errno not in _DISK_FULL:
            raise
        raise StorageFullError("There is no room on the disk to unpack the body: try again later.") from fault


def _read_block(source: gzip.GzipFile) -> bytes:
    try:
        return source.read(BLOCK_BYTES)
    except EOFError as fault:
        raise UnreadableBodyError("The gzip body is cut off: send it again in full.") from fault
    except (gzip.BadGzipFile, zlib.error) as fault:
        raise UnreadableBodyError(f"The body is not valid gzip ({fault}): pack it again.") from fault


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"The unpacked body is larger than {max_bytes} bytes (MAX_BODY_MB): split the rows into several jobs."
    )
