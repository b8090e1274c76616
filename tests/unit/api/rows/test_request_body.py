from __future__ import annotations

import gzip
import hashlib
import io
import json
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pytest

from services.api.rows.json_body import BodyOptions
from services.api.rows.request_body import RequestBody
from services.api.rows.row_spec import BLOCK_BYTES, RowSpec
from shared.errors import (
    BodyTooLargeError,
    StorageFullError,
    TooManyRowsError,
    UnreadableBodyError,
    UnsupportedMediaTypeError,
)
from tests.unit.api.rows.features import numbers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SPEC = RowSpec(numbers("age", "sex"), chunk_rows=2, max_rows=1000)
ROWS = np.arange(10, dtype=np.float32).reshape(5, 2)
CSV = b"age,sex\n" + b"".join(b"%d,%d\n" % tuple(row) for row in ROWS.astype(int).tolist())
#: Plain, and one that only the careful reader takes.
JSON = json.dumps({"model": "m", "rows": ROWS.tolist()}).encode()
CAREFUL = JSON.replace(b"[0.0, 1.0]", b'{"age": 0, "sex": 1}')


def npy(rows: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


BODIES = [
    ("application/json", JSON),
    ("application/json", CAREFUL),
    ("text/csv", CSV),
    ("application/x-ndjson", b"\n".join(json.dumps(row).encode() for row in ROWS.tolist())),
    ("application/x-npy", npy(ROWS)),
]


def read(body: RequestBody) -> NDArray[np.float32]:
    return np.concatenate(list(body.chunks(SPEC)))


@pytest.mark.parametrize(("content_type", "body"), BODIES)
@pytest.mark.parametrize("packed", [False, True])
def test_rows_options_size_and_fingerprint_may_be_asked_for_in_any_order_and_again(
    content_type: str, body: bytes, *, packed: bool, tmp_path: Path
) -> None:
    received = gzip.compress(body) if packed else body
    with RequestBody(
        io.BytesIO(received), content_type, "gzip" if packed else None, 10**6, tmp_path
    ) as opened:
        for _ in range(2):
            digest = hashlib.sha256()
            opened.update_digest(digest)
            assert digest.digest() == hashlib.sha256(received).digest()
            np.testing.assert_array_equal(read(opened), ROWS)
            assert opened.options == BodyOptions("m" if opened.reader.options_in_body else None)
            assert opened.size == len(body)


def test_a_body_is_not_unpacked_before_that_is_needed() -> None:
    with RequestBody(io.BytesIO(b"no gzip"), "text/csv", "gzip", 10**6) as body:
        body.update_digest(hashlib.sha256())
        with pytest.raises(UnreadableBodyError):
            _ = body.size


def test_room_is_reserved_only_for_a_body_that_is_unpacked() -> None:
    def full() -> Room:
        raise StorageFullError("full")

    for encoding, body in ((None, CSV), ("identity", CSV), ("gzip", gzip.compress(CSV))):
        with RequestBody(io.BytesIO(body), "text/csv", encoding, 10**6, reserve=full) as opened:
            opened.update_digest(hashlib.sha256())
            if encoding == "gzip":
                with pytest.raises(StorageFullError):
                    _ = opened.size
            else:
                np.testing.assert_array_equal(read(opened), ROWS)


def test_a_large_body_is_not_parsed_at_once() -> None:
    large = JSON[:-1] + b" " * BLOCK_BYTES + b"}"
    with (
        RequestBody(io.BytesIO(JSON), "application/json", None, 10**6) as small,
        RequestBody(io.BytesIO(large), "application/json", None, 10**6) as body,
    ):
        assert small._plain is not None
        assert body._plain is None
        assert body.options == small.options
        np.testing.assert_array_equal(read(body), read(small))


def test_an_unknown_content_type_is_refused_when_the_body_is_opened() -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        RequestBody(io.BytesIO(CSV), "text/html", None, 1)


def test_the_limits_of_bytes_and_of_rows_hold() -> None:
    with (
        RequestBody(io.BytesIO(CSV), "text/csv", None, len(CSV) - 1) as body,
        pytest.raises(BodyTooLargeError),
    ):
        _ = body.size
    with (
        RequestBody(io.BytesIO(CAREFUL), "application/json", None, 10**6, max_rows=4) as body,
        pytest.raises(TooManyRowsError),
    ):
        _ = body.options


def test_the_temporary_file_is_closed_and_the_stream_is_not(tmp_path: Path) -> None:
    stream = io.BytesIO(gzip.compress(CSV))
    with RequestBody(stream, "text/csv", "gzip", 10**6, tmp_path) as body:
        unpacked: BinaryIO = body._unpacked
        unpacked.seek(0)
    with pytest.raises(ValueError, match="closed"):
        unpacked.seek(0)
    assert not stream.closed


class Room:
    """Room for some bytes."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, nbytes: int) -> None:
        if nbytes > self.left:
            raise StorageFullError("no room")
        self.left -= nbytes


def test_unpacked_bytes_are_reserved_before_they_are_written(tmp_path: Path) -> None:
    room = Room(10**6)
    packed = gzip.compress(CSV)
    with RequestBody(io.BytesIO(packed), "text/csv", "gzip", 10**6, tmp_path, reserve=lambda: room) as body:
        np.testing.assert_array_equal(read(body), ROWS)
    assert room.left == 10**6 - len(CSV)


def test_a_gzip_bomb_is_refused_when_the_reservation_is_used_up(tmp_path: Path) -> None:
    room = Room(10**6)
    bomb = io.BytesIO(gzip.compress(bytes(50_000_000)))
    with RequestBody(bomb, "text/csv", "gzip", 10**9, tmp_path, reserve=lambda: room) as body:
        with pytest.raises(StorageFullError):
            _ = body.size
        assert bomb.tell() < 100_000
    assert not list(tmp_path.iterdir())
