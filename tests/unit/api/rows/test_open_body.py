from __future__ import annotations

import errno
import gzip
import io
import os
import tracemalloc
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, BinaryIO, cast

import pytest

from services.api.rows.request_body import open_body
from shared.errors import BodyTooLargeError, StorageFullError, UnreadableBodyError, UnsupportedMediaTypeError

if TYPE_CHECKING:
    from pathlib import Path


def read_and_close(body: BinaryIO) -> bytes:
    with body:
        return body.read()


TEXT = b"age,sex\n1,2\n" * 1000


@pytest.mark.parametrize("coding", [None, "", "identity", " Identity "])
def test_a_plain_body_is_returned_at_its_start(coding: str | None) -> None:
    stream = io.BytesIO(TEXT)
    assert open_body(stream, coding, 10**6) is stream
    assert stream.read() == TEXT


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
def test_gzip_is_unpacked_and_may_be_read_twice(coding: str, tmp_path: Path) -> None:
    with open_body(io.BytesIO(gzip.compress(TEXT)), coding, 10**6, tmp_path) as body:
        assert body.read() == TEXT
        body.seek(0)
        assert body.read() == TEXT


def test_gzip_of_several_members_is_one_body() -> None:
    packed = gzip.compress(TEXT[:5000]) + gzip.compress(b"") + gzip.compress(TEXT[5000:]) + b"\0" * 512
    with open_body(io.BytesIO(packed), "gzip", 10**6) as body:
        assert body.read() == TEXT


@pytest.mark.parametrize("keep", [5, 20, -1])
def test_gzip_that_is_cut_off_is_unreadable(keep: int) -> None:
    with pytest.raises(UnreadableBodyError, match="cut off"):
        open_body(io.BytesIO(gzip.compress(TEXT)[:keep]), "gzip", 10**6)


def test_gzip_that_is_corrupt_is_unreadable() -> None:
    packed = bytearray(gzip.compress(os.urandom(1000)))
    packed[-6] ^= 1
    for body in (bytes(packed), TEXT, gzip.compress(TEXT) + b"garbage", b"\x1f\x8b\x08\x00" + b"\xff" * 50):
        with pytest.raises(UnreadableBodyError):
            open_body(io.BytesIO(body), "gzip", 10**6)


def test_a_gzip_bomb_is_refused_without_filling_the_memory(tmp_path: Path) -> None:
    packed = gzip.compress(bytes(200_000_000), compresslevel=9)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLargeError, match="1000000 bytes"):
            open_body(io.BytesIO(packed), "gzip", 1_000_000, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert not list(tmp_path.iterdir())


def test_a_large_body_is_unpacked_to_a_file_that_leaves_nothing_behind(tmp_path: Path) -> None:
    packed = io.BytesIO(gzip.compress(bytes(20_000_000)))
    tracemalloc.start()
    try:
        with open_body(packed, "gzip", 10**8, tmp_path) as body:
            assert body.seek(0, os.SEEK_END) == 20_000_000
        assert tracemalloc.get_traced_memory()[1] < 2_500_000
    finally:
        tracemalloc.stop()
    assert not list(tmp_path.iterdir())


def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    for stream, coding in ((io.BytesIO(TEXT), None), (io.BytesIO(gzip.compress(TEXT)), "gzip")):
        assert len(read_and_close(open_body(stream, coding, len(TEXT)))) == len(TEXT)
    for stream, coding in ((io.BytesIO(TEXT), None), (io.BytesIO(gzip.compress(TEXT)), "gzip")):
        with pytest.raises(BodyTooLargeError):
            open_body(stream, coding, len(TEXT) - 1)


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, gzip", "x" * 500])
def test_another_encoding_is_refused_with_the_remedy(coding: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="send gzip"):
        open_body(io.BytesIO(TEXT), coding, 10**6)


def test_a_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    # A full disk needs a mount.
    def refuse(_file: BinaryIO, _block: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(SpooledTemporaryFile, "write", refuse)
    with pytest.raises(StorageFullError, match="no room"):
        open_body(cast("BinaryIO", io.BytesIO(gzip.compress(TEXT))), "gzip", 10**6)
