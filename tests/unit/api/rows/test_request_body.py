"""A request's body: its reader, its encoding, its limits, and reading it more than once."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import tracemalloc
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO

import numpy as np
import pytest

from services.api.rows.json_body import BodyOptions
from services.api.rows.request_body import RequestBody, open_body
from services.api.rows.row_spec import BLOCK_BYTES, RowSpec
from shared.errors import (
    BodyTooLargeError,
    StorageFullError,
    TooManyRowsError,
    UnreadableBodyError,
    UnsupportedMediaTypeError,
)
from tests.unit.api.rows.reading import Floats, npy, numbers

SPEC = RowSpec(numbers("age", "sex"), chunk_rows=2, max_rows=1000)
ROWS = np.arange(10, dtype=np.float32).reshape(5, 2)
CSV = b"age,sex\n" + b"".join(b"%d,%d\n" % tuple(row) for row in ROWS.astype(int).tolist())
#: Plain, and one that only the careful reader takes.
JSON = json.dumps({"model": "m", "rows": ROWS.tolist()}).encode()
CAREFUL = JSON.replace(b"[0.0, 1.0]", b'{"age": 0, "sex": 1}')
LINES = b"\n".join(json.dumps(row).encode() for row in ROWS.tolist())
TEXT = b"age,sex\n1,2\n" * 1000


def read(body: RequestBody) -> Floats:
    return np.concatenate(list(body.chunks(SPEC)))


def test_rows_options_size_and_fingerprint_may_be_asked_for_in_any_order_and_again(tmp_path: Path) -> None:
    for content_type, body in {
        "application/json": JSON,
        "Application/JSON; charset=UTF-8": CAREFUL,
        'text/csv; header=present; charset="utf-8"': CSV,
        "application/x-ndjson": LINES,
        "application/x-npy": npy(ROWS),
    }.items():
        for encoding, received in ((None, body), ("gzip", gzip.compress(body))):
            with RequestBody(io.BytesIO(received), content_type, encoding, 10**6, tmp_path) as opened:
                for _ in range(2):
                    digest = hashlib.sha256()
                    opened.update_digest(digest)
                    assert digest.digest() == hashlib.sha256(received).digest()
                    np.testing.assert_array_equal(read(opened), ROWS)
                    assert opened.options == BodyOptions("m" if b"model" in body else None)
                    assert opened.size == len(body)


def test_another_content_type_is_refused_and_supported_ones_are_listed() -> None:
    for other in (None, "", "text/html", "application/xml", "json", "a\r\nb: c", "\xff" * 500):
        with pytest.raises(UnsupportedMediaTypeError, match="application/json, text/csv"):
            RequestBody(io.BytesIO(CSV), other, None, 1)
    with pytest.raises(UnsupportedMediaTypeError, match="latin-1"):
        RequestBody(io.BytesIO(CSV), "text/csv; charset=latin-1", None, 1)
    for charset in (
        "charset*=x; charset*0*=y",
        "charset*0*=x; charset*=y",
        f"charset*0=a; charset*{'1' * 5000}=b",
    ):
        with pytest.raises(UnsupportedMediaTypeError, match="make no sense"):
            RequestBody(io.BytesIO(CSV), f"application/json; {charset}", None, 1)


class Room:
    """Room for some bytes."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, nbytes: int) -> None:
        if nbytes > self.left:
            raise StorageFullError("no room")
        self.left -= nbytes


def full() -> Room:
    raise StorageFullError("full")


def test_a_body_is_not_unpacked_before_that_is_needed_and_room_is_reserved_only_then(tmp_path: Path) -> None:
    with RequestBody(io.BytesIO(b"no gzip"), "text/csv", "gzip", 10**6) as body:
        body.update_digest(hashlib.sha256())
        with pytest.raises(UnreadableBodyError):
            _ = body.size
    for encoding in (None, "identity"):
        with RequestBody(io.BytesIO(CSV), "text/csv", encoding, 10**6, reserve=full) as opened:
            np.testing.assert_array_equal(read(opened), ROWS)
    packed = io.BytesIO(gzip.compress(CSV))
    body = RequestBody(packed, "text/csv", "gzip", 10**6, reserve=full)
    with body, pytest.raises(StorageFullError):
        _ = body.size
    room = Room(10**6)
    packed.seek(0)
    with RequestBody(packed, "text/csv", "gzip", 10**6, tmp_path, reserve=lambda: room) as body:
        np.testing.assert_array_equal(read(body), ROWS)
        unpacked: BinaryIO = body._unpacked
    assert room.left == 10**6 - len(CSV)
    assert (unpacked.closed, packed.closed) == (True, False)


def test_a_large_body_is_not_parsed_at_once() -> None:
    for body, at_once in ((JSON, True), (JSON[:-1] + b" " * BLOCK_BYTES + b"}", False)):
        with RequestBody(io.BytesIO(body), "application/json", None, 10**6) as opened:
            assert (opened._plain is not None) == at_once
            assert opened.options == BodyOptions("m")
            np.testing.assert_array_equal(read(opened), ROWS)


def test_the_limits_of_bytes_and_of_rows_hold() -> None:
    for stream, coding in ((TEXT, None), (gzip.compress(TEXT), "gzip")):
        with open_body(io.BytesIO(stream), coding, len(TEXT)) as body:
            assert len(body.read()) == len(TEXT)
        with pytest.raises(BodyTooLargeError):
            open_body(io.BytesIO(stream), coding, len(TEXT) - 1)
    careful = RequestBody(io.BytesIO(CAREFUL), "application/json", None, 10**6, max_rows=4)
    with careful, pytest.raises(TooManyRowsError):
        _ = careful.options


def test_identity_and_gzip_of_several_members_are_read_again_and_again(tmp_path: Path) -> None:
    for coding in (None, "", "identity", " Identity "):
        stream = io.BytesIO(TEXT)
        assert open_body(stream, coding, 10**6) is stream
        assert stream.read() == TEXT
    members = gzip.compress(TEXT[:5000]) + gzip.compress(b"") + gzip.compress(TEXT[5000:]) + b"\0" * 512
    for coding in ("gzip", "GZIP", "x-gzip"):
        with open_body(io.BytesIO(members), coding, 10**6, tmp_path) as body:
            assert body.read() == TEXT
            body.seek(0)
            assert body.read() == TEXT
    for coding in ("br", "deflate", "zstd", "gzip, gzip", "x" * 500):
        with pytest.raises(UnsupportedMediaTypeError, match="send gzip"):
            open_body(io.BytesIO(TEXT), coding, 10**6)


def test_gzip_that_is_cut_off_or_corrupt_is_unreadable() -> None:
    for keep in (5, 20, -1):
        with pytest.raises(UnreadableBodyError, match="cut off"):
            open_body(io.BytesIO(gzip.compress(TEXT)[:keep]), "gzip", 10**6)
    flipped = bytearray(gzip.compress(os.urandom(1000)))
    flipped[-6] ^= 1
    for body in (bytes(flipped), TEXT, gzip.compress(TEXT) + b"garbage", b"\x1f\x8b\x08\x00" + b"\xff" * 50):
        with pytest.raises(UnreadableBodyError):
            open_body(io.BytesIO(body), "gzip", 10**6)


def test_a_large_body_and_a_bomb_fill_neither_memory_nor_disk(tmp_path: Path) -> None:
    bomb, large, room = gzip.compress(bytes(100_000_000)), gzip.compress(bytes(20_000_000)), Room(10**6)
    stream = io.BytesIO(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLargeError, match="1000000 bytes"):
            open_body(io.BytesIO(bomb), "gzip", 1_000_000, tmp_path)
        with open_body(io.BytesIO(large), "gzip", 10**8, tmp_path) as body:
            assert body.seek(0, os.SEEK_END) == 20_000_000
        with RequestBody(stream, "text/csv", "gzip", 10**9, tmp_path, reserve=lambda: room) as request:
            with pytest.raises(StorageFullError):
                _ = request.size
            assert stream.tell() < 100_000
        assert tracemalloc.get_traced_memory()[1] < 2_500_000
    finally:
        tracemalloc.stop()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    # A full disk needs a mount.
    def refuse(_file: BinaryIO, _block: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(SpooledTemporaryFile, "write", refuse)
    with pytest.raises(StorageFullError, match="no room"):
        open_body(io.BytesIO(gzip.compress(TEXT)), "gzip", 10**6)
