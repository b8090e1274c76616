from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.rows.chunks import Piece
from services.api.rows.csv_rows import read_csv
from services.api.rows.json_body import read_json_options, read_json_rows
from services.api.rows.json_rows import JsonRowParser, parse_plain_rows, read_ndjson, split_rows
from services.api.rows.json_scanner import count_plain_rows
from services.api.rows.row_spec import BLOCK_BYTES, RowSpec
from shared.errors import InvalidRowsError, UnprocessableError
from tests.unit.api.rows.features import numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

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
def test_plain_rows_are_counted_split_and_parsed_however_they_are_spaced(
    rows: list[list[float | None]], before: str, after: str
) -> None:
    texts = [json.dumps(row).encode() for row in rows]
    text = f"{before},{after}".encode().join(texts)

    assert count_plain_rows(text) == len(rows)
    assert split_rows(text) == texts
    np.testing.assert_array_equal(parse_plain_rows(text, 3), np.array(rows, dtype=np.float64))


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
        '["1"]',
        "[true]",
        '{"a":1}',
    ],
)
def test_other_texts_do_not_count_as_plain_rows(text: str) -> None:
    assert count_plain_rows(text.encode()) == 0


@pytest.mark.parametrize("text", ["[1,2],[3]", "[1,2,3],[4,5,6]", "[1,nul]", "[1,+2]", "[1,]", "[]"])
def test_plain_bytes_that_are_no_rows_of_the_model_are_not_parsed_at_once(text: str) -> None:
    assert count_plain_rows(text.encode()) > 0
    assert parse_plain_rows(text.encode(), 2) is None


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


@pytest.mark.parametrize("between", [",", ", ", ",\n", " ,\t"])
def test_many_plain_rows_are_read_a_block_at_a_time(between: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = f'{{"rows":[ {between.join(["[1,2,3]"] * MANY)} ],"model":"m"}}'.encode()
    one_by_one: list[int] = []
    parse = JsonRowParser.parse

    def count(parser: JsonRowParser, texts: Sequence[bytes], first_row: int) -> Piece:
        one_by_one.append(len(texts))
        return parse(parser, texts, first_row)

    monkeypatch.setattr(JsonRowParser, "parse", count)

    assert read_json_options(io.BytesIO(body)).model == "m"
    rows = np.concatenate(list(read_json_rows(io.BytesIO(body), SPEC)))

    np.testing.assert_array_equal(rows, np.tile(np.array([1, 2, 3], np.float32), (MANY, 1)))
    assert sum(one_by_one) < MANY / 1000  # a row that stands alone at a block's end


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
