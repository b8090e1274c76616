from __future__ import annotations

import io
import json
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.rows.chunks import Piece
from services.api.rows.csv_rows import read_csv
from services.api.rows.json_body import read_json_options, read_json_rows
from services.api.rows.json_rows import JsonRowParser, read_ndjson
from services.api.rows.json_scanner import BETWEEN_LINES, JsonScanner, count_rows, split_rows
from services.api.rows.row_spec import BLOCK_BYTES, RowSpec
from shared.errors import InvalidRowsError, UnprocessableError, UnreadableBodyError
from tests.unit.api.rows.features import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPEC = RowSpec(numbers("age", "sex", "bmi"), chunk_rows=500, max_rows=1_000_000)
#: Enough for several blocks of a body.
MANY = 4 * BLOCK_BYTES // len("[1,2,3],")

SPACES = st.text(" \t\r\n", max_size=3)
ROWS = st.lists(
    st.lists(st.none() | st.integers(-(10**6), 10**6) | st.floats(-1e9, 1e9), min_size=3, max_size=3),
    min_size=1,
    max_size=5,
)


@given(ROWS, SPACES, SPACES)
def test_usual_rows_are_counted_split_and_parsed_however_they_are_spaced(
    rows: list[list[float | None]], before: str, after: str
) -> None:
    named = [dict(zip(SPEC.names, row, strict=True)) for row in rows]
    for shaped in (rows, named):
        texts = [json.dumps(row).encode() for row in shaped]
        text = f"{before},{after}".encode().join(texts)

        assert count_rows(text) == len(rows)
        assert split_rows(text) == texts
        piece = JsonRowParser(SPEC).parse(text, 0)
        np.testing.assert_array_equal(piece.values, np.array(rows, dtype=np.float64))
        assert not piece.faults


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,2",
        "[1,2",
        "1,2]",
        "[1,[2]]",
        "[[1,2]]",
        "[1],2,[3]",
        "[1] [2]",
        "[1],,[2]",
        "[1],[2],",
        "[1], [2],[3]",
        '["]"]',
        '["1]',
        '{"a":1}}',
        '{"[":1}',
    ],
)
def test_other_texts_do_not_count_as_usual_rows(text: str) -> None:
    assert count_rows(text.encode()) == 0


@pytest.mark.parametrize(
    ("text", "rows"),
    [("[1]\n[2]", 2), ("[1]\r\n[2]", 2), ("[1],[2]", 0), ('{"a":1}\n[2]\n[3]', 0), ("[1]", 1)],
)
def test_rows_on_lines_are_told_from_others(text: str, rows: int) -> None:
    assert count_rows(text.encode(), BETWEEN_LINES) == rows


@pytest.mark.parametrize("text", ["[1,nul,3]", "[1,2,3],[1,+2,3]", "[1,2,]"])
def test_a_row_that_only_looks_usual_is_named(text: str) -> None:
    assert count_rows(text.encode()) > 0
    with pytest.raises(UnreadableBodyError, match=f"Row {10 + text.count('],')} is not valid JSON"):
        JsonRowParser(SPEC).parse(text.encode(), 10)


def read(rows: list[str], media: str) -> list[NDArray[np.float32]]:
    if media == "json":
        return list(read_json_rows(io.BytesIO(f'{{"rows":[{",".join(rows)}]}}'.encode()), SPEC))
    return list(read_ndjson(io.BytesIO("\n".join(rows).encode()), SPEC))


@pytest.mark.parametrize("media", ["json", "ndjson"])
@pytest.mark.parametrize("place", [0, 1, MANY // 2, MANY - 2, MANY - 1])
@pytest.mark.parametrize("faulty", ["[1,2]", '[1,"2",3]', "[1,1e999,3]", '{"age":1}'])
def test_a_fault_among_many_plain_rows_is_reported_with_its_row(media: str, place: int, faulty: str) -> None:
    rows = ["[1,2,3]"] * MANY
    rows[place] = faulty

    with pytest.raises(InvalidRowsError) as caught:
        read(rows, media)
    assert {error.row for error in caught.value.errors} == {place}


@pytest.mark.parametrize("between", [",", ", ", ",\n", " ,\t", "\r\n, "])
def test_many_plain_rows_are_read_a_block_at_a_time(between: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = f'{{"rows":[ {between.join(["[1,2,3]"] * MANY)} ],"model":"m"}}'.encode()
    texts: list[int] = []
    parse = JsonRowParser.parse

    def count(parser: JsonRowParser, text: bytes, first_row: int) -> Piece:
        texts.append(len(text))
        return parse(parser, text, first_row)

    monkeypatch.setattr(JsonRowParser, "parse", count)

    assert read_json_options(io.BytesIO(body)).model == "m"
    rows = np.concatenate(list(read_json_rows(io.BytesIO(body), SPEC)))

    np.testing.assert_array_equal(rows, np.tile(np.array([1, 2, 3], np.float32), (MANY, 1)))
    assert len(texts) <= 2 * len(body) / BLOCK_BYTES + 2


def test_the_buffer_stays_small_if_no_window_holds_two_rows_of_a_kind() -> None:
    longest = b'{"a":"' + b"x" * (SPEC.max_row_bytes - 8) + b'"}'
    scanner = JsonScanner(io.BytesIO(b"[" + b",".join([b"[1]", longest] * 100) + b"]"), SPEC.max_row_bytes)
    assert max(len(scanner._buffer) for _ in scanner.take_rows()) < 4 * SPEC.max_row_bytes


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


def test_rows_are_separated_from_other_members_in_every_block() -> None:
    for count in range(1, 60):  # so that each end falls on each place of a block
        rows = ",".join(["[1,2,3]"] * (MANY // 4 + count))
        body = f'{{"method":"a","rows":[{rows}],"rowz":1}}'.encode()
        with pytest.raises(UnprocessableError, match="Unknown member 'rowz'"):
            read_json_options(io.BytesIO(body))


@given(
    st.lists(
        st.lists(st.sampled_from(["", "1", "2.5", "-3e2"]), min_size=3, max_size=3), min_size=1, max_size=6
    )
)
def test_empty_cells_of_csv_are_missing_wherever_they_stand(cells: list[list[str]]) -> None:
    body = "\n".join(["age,sex,bmi", *(",".join(row) for row in cells)]).encode()
    wanted = [[float(cell) if cell else np.nan for cell in row] for row in cells]

    np.testing.assert_array_equal(
        np.concatenate(list(read_csv(io.BytesIO(body), SPEC))), np.array(wanted, np.float32)
    )
