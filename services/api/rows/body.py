"""The body of a request as a seekable stream of plain bytes, bounded in size."""

from __future__ import annotations

import errno
import gzip
import os
import zlib
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, Protocol, cast

from services.api.rows.row_spec import BLOCK_BYTES
from shared.errors import BodyTooLargeError, StorageFullError, UnreadableBodyError, UnsupportedMediaTypeError

#: Bytes of an unpacked body that stay in memory; a larger one goes to a file without a name.
_IN_MEMORY_BYTES = 512 * 1024

#: What the system says when there is no room.
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Reservation(Protocol):
    """Room on the disk that is kept for a request."""

    def take(self, nbytes: int) -> object:
        """Keep room for further bytes. Raises StorageFullError where there is none."""
        ...


def open_body(
    stream: BinaryIO,
    content_encoding: str | None,
    max_bytes: int,
    folder: Path | None = None,
    reservation: Reservation | None = None,
) -> BinaryIO:
    """Open a body for reading, from its start, as often as needed.

    gzip (also of several members) is unpacked to a temporary file in `folder`. Close what is returned: for
    a plain, seekable body it is `stream` itself. Raises BodyTooLargeError as soon as more than `max_bytes`
    come out, UnreadableBodyError for broken gzip, UnsupportedMediaTypeError for another encoding, and
    StorageFullError where the temporary file does not fit.
    """
    coding = (content_encoding or "identity").strip().lower() or "identity"
    if coding in {"gzip", "x-gzip"}:
        with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
            return _copy(cast("BinaryIO", unpacked), max_bytes, folder, reservation)
    if coding != "identity":
        raise UnsupportedMediaTypeError(
            f"Content-Encoding {coding[:40]!r} is not understood: send gzip, or the plain body."
        )
    if not stream.seekable():
        return _copy(stream, max_bytes, folder, reservation)
    if stream.seek(0, os.SEEK_END) > max_bytes:
        raise _too_large(max_bytes)
    stream.seek(0)
    return stream


def _copy(source: BinaryIO, max_bytes: int, folder: Path | None, reservation: Reservation | None) -> BinaryIO:
    copy = SpooledTemporaryFile(  # noqa: SIM115 - the caller closes it
        max_size=_IN_MEMORY_BYTES, dir=None if folder is None else str(folder)
    )
    try:
        _fill(copy, source, max_bytes, reservation)
    except BaseException:
        copy.close()
        raise
    return cast("BinaryIO", copy)


def _fill(
    copy: SpooledTemporaryFile[bytes], source: BinaryIO, max_bytes: int, reservation: Reservation | None
) -> None:
    size = 0
    while block := _read_block(source):
        size += len(block)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if reservation is not None:
            reservation.take(len(block))
        _write_block(copy, block)
    copy.seek(0)


def _read_block(source: BinaryIO) -> bytes:
    try:
        return source.read(BLOCK_BYTES)
    except EOFError as fault:
        raise UnreadableBodyError("The gzip body is cut off: send it again in full.") from fault
    except (gzip.BadGzipFile, zlib.error) as fault:
        raise UnreadableBodyError(f"The body is not valid gzip ({fault}): send it again.") from fault


def _write_block(copy: SpooledTemporaryFile[bytes], block: bytes) -> None:
    try:
        copy.write(block)
    except OSError as fault:
        if fault.errno in _DISK_FULL:
            raise StorageFullError("There is no room on the disk to unpack the body: try later.") from fault
        raise


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"The body is larger than {max_bytes} bytes (unpacked; MAX_BODY_MB): send the rows as several jobs."
    )
