"""Bodies meant to cost much are refused after little work; rows take bounded memory."""

from __future__ import annotations

import io
import time
import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest

from services.api.rows.json_rows import JsonRowParser
from services.api.rows.json_scanner import JsonScanner
from services.api.rows.row_spec import BLOCK_BYTES, RowSpec
from shared.errors import InvalidRowsError, UnprocessableError, UnreadableBodyError
from tests.unit.api.rows.reading import READERS, SPEC, npy, numbers, read

REFUSED = (InvalidRowsError, UnprocessableError, UnreadableBodyError)


class Endless(io.BytesIO):
    """A body without an end, made of one text over and over; counts what is taken of it."""

    def __init__(self, start: bytes, again: bytes) -> None:
        super().__init__()
        self.taken = 0
        self._start, self._again = start, again

    def read(self, size: int | None = -1) -> bytes:
        size = size or 0
        self.taken += size
        start, self._start = self._start, b""
        return (start + self._again * (size // len(self._again) + 1))[:size]


def test_a_row_of_csv_without_an_end_is_refused_after_a_few_blocks() -> None:
    for start, again in (
        (b"", b"feature_1,"),
        (b"age,sex,bmi\n1,2,3\n", b"1,"),
        (b"age,sex,bmi\n1,2,3\n", b"      "),
        (b'age,sex,bmi\n1,2,"3', b"xxxx\n"),
        (b"age,sex,bmi\n1,2,3", b'"\n","\n'),
    ):
        body = Endless(start, again)
        with pytest.raises((InvalidRowsError, UnreadableBodyError)):
            list(READERS["csv"](body, SPEC))
        assert body.taken < 2_000_000


#: The start of a body, and what it opens again and again.
DEEP = [
    *(("json", '{"rows":', "["), ("json", '{"rows":[', '{"a":'), ("json", '{"model":', "[")),
    *(("json", "", "["), ("json", "", '{"rows":'), ("json", '{"model":', '{"a":')),
    *(("ndjson", "", "["), ("ndjson", "", '{"a":')),
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
    bodies: list[tuple[str, bytes]] = [*LONG]
    for levels in (1000, 30_000, 1_000_000):
        for form, start, opened in DEEP:
            closed = "1" + ("]" if opened == "[" else "}") * levels + "\n" if form == "ndjson" else ""
            bodies.append((form, (start + opened * levels + closed).encode()))
    for form, body in bodies:
        started = time.process_time()
        with pytest.raises(REFUSED):
            read(form, body)
        assert time.process_time() - started < 3, (form, len(body), body[:20])


@pytest.mark.parametrize("form", READERS)
def test_many_times_the_rows_take_no_more_memory(form: str) -> None:
    spec = RowSpec(numbers(*(f"feature_{number}" for number in range(10))), 500, 1_000_000)
    line = ",".join(["0.12345678"] * 10)
    peaks = []
    for rows in (500, 30_000):
        body = {
            "csv": (",".join(spec.names) + "\n" + (line + "\n") * rows).encode(),
            "json": ('{"rows":[' + ",".join([f"[{line}]"] * rows) + '],"model":"m"}').encode(),
            "ndjson": (f"[{line}]\n" * rows).encode(),
            "npy": npy(np.full((rows, 10), 0.12345678, dtype=np.float32)),
        }[form]
        tracemalloc.start()
        try:
            assert sum(len(chunk) for chunk in READERS[form](io.BytesIO(body), spec)) == rows
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000
    assert peaks[1] < 3_000_000


def test_many_plain_rows_are_read_a_block_at_a_time() -> None:
    many = 4 * BLOCK_BYTES // len("[1,2,3],")
    wide = RowSpec(SPEC.features, chunk_rows=500, max_rows=1_000_000)
    for between in (",", ", ", ",\n", " ,\t", "\r\n, "):
        body = f'{{"rows":[ {between.join(["[1,2,3]"] * many)} ],"model":"m"}}'.encode()
        with patch.object(JsonRowParser, "parse", autospec=True, side_effect=JsonRowParser.parse) as parse:
            np.testing.assert_array_equal(read("json", body, wide), [[1, 2, 3]] * many)
        assert parse.call_count <= 2 * len(body) / BLOCK_BYTES + 2


def test_the_buffer_stays_small_if_no_window_holds_two_rows_of_a_kind() -> None:
    longest = b'{"a":"' + b"x" * (SPEC.max_row_bytes - 8) + b'"}'
    scanner = JsonScanner(io.BytesIO(b"[" + b",".join([b"[1]", longest] * 100) + b"]"), SPEC.max_row_bytes)
    assert max(len(scanner._buffer) for _ in scanner.take_rows()) < 4 * SPEC.max_row_bytes


def test_counting_many_short_rows_takes_little_memory() -> None:
    limit = 8 * BLOCK_BYTES
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
