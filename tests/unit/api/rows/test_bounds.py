"""Bodies meant to cost much are refused after little work; rows take bounded memory."""

from __future__ import annotations

import io
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from services.api.rows.chunks import Piece
from services.api.rows.json_body import read_json_options
from services.api.rows.json_rows import JsonRowParser
from services.api.rows.json_scanner import JsonScanner
from services.api.rows.readers import READERS
from services.api.rows.row_spec import BLOCK_BYTES, RowSpec
from shared.errors import InvalidRowsError, UnprocessableError, UnreadableBodyError
from tests.unit.api.rows.reading import READERS as BY_NAME
from tests.unit.api.rows.reading import SPEC, npy, numbers, read

#: Enough for several blocks of a body.
MANY = 4 * BLOCK_BYTES // len("[1,2,3],")
WIDE = RowSpec(SPEC.features, chunk_rows=500, max_rows=1_000_000)


class Endless(io.RawIOBase):
    """A body without an end, made of one text over and over; counts what is taken of it."""

    def __init__(self, start: bytes, again: bytes) -> None:
        self.taken = 0
        self._start, self._again = start, again

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.taken += size
        start, self._start = self._start, b""
        return (start + self._again * (size // len(self._again) + 1))[:size]


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"", b"feature_1,"),
        (b"age,sex,bmi\n1,2,3\n", b"1,"),
        (b"age,sex,bmi\n1,2,3\n", b"      "),
        (b'age,sex,bmi\n1,2,"3', b"xxxx\n"),
        (b"age,sex,bmi\n1,2,3", b'"\n","\n'),
    ],
)
def test_a_row_of_csv_without_an_end_is_refused_after_a_few_blocks(start: bytes, again: bytes) -> None:
    body = Endless(start, again)
    with pytest.raises((InvalidRowsError, UnreadableBodyError)):
        list(BY_NAME["csv"](body, SPEC))  # type: ignore[arg-type]  # only read() is used
    assert body.taken < 2_000_000


DEEP = [
    *(
        ("json", start, opened)
        for start, opened in (('{"rows":', "["), ('{"rows":[', '{"a":'), ('{"model":', "["))
    ),
    *(("json", start, opened) for start, opened in (("", "["), ("", '{"rows":'), ('{"model":', '{"a":'))),
    *(("ndjson", "", opened) for opened in ("[", '{"a":')),
]
LONG = [
    ("json", b'{"rows":[[' + b"1," * 5_000_000),
    ("json", b'{"rows":[["' + b"x" * 10_000_000),
    ("json", b'{"rows":[["' + b'\\"' * 5_000_000),
    ("json", b'{"' + b"x" * 10_000_000),
    ("json", b'{"model":"' + b"x" * 10_000_000),
    ("json", b'{"model":n' + b"x" * 10_000_000),
    ("json", b" " * 10_000_000),
    ("csv", b"feature_1," * 1_000_000 + b"x\n" + b"1," * 999_999 + b"1\n"),
]


def test_deep_nesting_and_values_without_an_end_are_refused_quickly() -> None:
    """Measure processor time, which a busy machine hardly lengthens.

    Quadratic work would take minutes.
    """
    refused = (InvalidRowsError, UnprocessableError, UnreadableBodyError)
    for levels in (10, 1000, 30_000, 1_000_000):
        for form, start, opened in DEEP:
            closed = "1" + ("]" if opened == "[" else "}") * levels + "\n" if form == "ndjson" else ""
            started = time.process_time()
            with pytest.raises(refused):
                read(form, start + opened * levels + closed)
            assert time.process_time() - started < 2, (form, start, opened, levels)
    for form, body in LONG:
        started = time.process_time()
        with pytest.raises(refused):
            read(form, body)
        assert time.process_time() - started < 3, (form, body[:20])


def make_body(media_type: str, rows: int) -> io.BytesIO:
    line = ",".join(["0.12345678"] * 10)
    if media_type == "text/csv":
        return io.BytesIO((",".join(TEN.names) + "\n" + (line + "\n") * rows).encode())
    if media_type == "application/x-ndjson":
        return io.BytesIO((f"[{line}]\n" * rows).encode())
    if media_type == "application/json":
        return io.BytesIO(('{"rows":[' + ",".join([f"[{line}]"] * rows) + '],"model":"m"}').encode())
    return io.BytesIO(npy(np.full((rows, 10), 0.12345678, dtype=np.float32)))


TEN = RowSpec(numbers(*(f"feature_{number}" for number in range(10))), 500, 1_000_000)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.media_type)
def test_many_times_the_rows_take_no_more_memory(reader: Any) -> None:
    peaks = []
    for rows in (500, 30_000):
        body = make_body(reader.media_type, rows)
        tracemalloc.start()
        try:
            if reader.options_in_body:
                read_json_options(body)
                body.seek(0)
            assert sum(len(chunk) for chunk in reader.read(body, TEN)) == rows
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000
    assert peaks[1] < 3_000_000


@pytest.mark.parametrize("between", [",", ", ", ",\n", " ,\t", "\r\n, "])
def test_many_plain_rows_are_read_a_block_at_a_time(between: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = f'{{"rows":[ {between.join(["[1,2,3]"] * MANY)} ],"model":"m"}}'.encode()
    texts: list[int] = []
    parse = JsonRowParser.parse

    def count(parser: JsonRowParser, text: bytes, first_row: int) -> Piece:
        texts.append(len(text))
        return parse(parser, text, first_row)

    monkeypatch.setattr(JsonRowParser, "parse", count)
    np.testing.assert_array_equal(
        read("json", body, WIDE), np.tile(np.array([1, 2, 3], np.float32), (MANY, 1))
    )
    assert len(texts) <= 2 * len(body) / BLOCK_BYTES + 2


def test_the_buffer_stays_small_if_no_window_holds_two_rows_of_a_kind() -> None:
    longest = b'{"a":"' + b"x" * (WIDE.max_row_bytes - 8) + b'"}'
    scanner = JsonScanner(io.BytesIO(b"[" + b",".join([b"[1]", longest] * 100) + b"]"), WIDE.max_row_bytes)
    assert max(len(scanner._buffer) for _ in scanner.take_rows()) < 4 * WIDE.max_row_bytes


def test_counting_many_short_rows_takes_little_memory() -> None:
    limit = 16 * BLOCK_BYTES
    # The longest row makes the buffer grow, so that short ones, of two kinds in turn, fill it at once.
    body = b'["' + b"x" * (limit - 4) + b'"],' + b",".join([b"[],{}"] * (limit // 6))
    scanner = JsonScanner(io.BytesIO(b"[" + body + b"]"), limit)
    tracemalloc.start()
    try:
        counts = [rows.count for rows in scanner.take_rows()]
        assert tracemalloc.get_traced_memory()[1] < 8 * limit
    finally:
        tracemalloc.stop()
    assert sum(counts) == 1 + 2 * (limit // 6)
    assert max(counts) > limit // 6
