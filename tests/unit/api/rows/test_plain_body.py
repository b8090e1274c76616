from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.rows.json_body import read_json_options, read_json_rows
from services.api.rows.request_body import parse_plain_body
from services.api.rows.row_spec import RowSpec
from shared.errors import ShapboxError
from tests.unit.api.rows.features import category, numbers

SPEC = RowSpec(numbers("age", "sex", "bmi"), chunk_rows=2, max_rows=4)
LABELS = RowSpec((category("class", 1, 2, 3), *numbers("age")), chunk_rows=2, max_rows=4)

CELLS = st.none() | st.integers() | st.floats() | st.booleans() | st.sampled_from(["1", '"', {}, [], [1.0]])
NUMBERS = st.none() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=5)
VALUES: st.SearchStrategy[Any] = (
    ROWS
    | st.lists(st.lists(CELLS, max_size=4) | CELLS, max_size=3)
    | st.sampled_from(
        [None, True, False, 3, 1.5, "diabetes", "", 'a"b', "tree_path_dependent", {}, [], {"a": 1}]
    )
)
NAMES = st.sampled_from(
    ["rows", "model", "method", "interactions", "top_pairs", "else", 'ro"ws', "rows\u00e9"]
)
MEMBERS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
SPACES = st.sampled_from(["", " ", "\n", "\ufeff", "x"])


def body_of(members: list[tuple[str, Any]], before: str, after: str) -> bytes:
    texts = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in members]
    return f"{before}{{{', '.join(texts)}}}{after}".encode()


def streamed(body: bytes, spec: RowSpec) -> tuple[Any, list[np.ndarray] | str]:
    options = read_json_options(io.BytesIO(body))
    return options, chunks_of(read_json_rows(io.BytesIO(body), spec))


def chunks_of(chunks: Any) -> list[np.ndarray] | str:
    try:
        return list(chunks)
    except ShapboxError as fault:
        return f"{fault.slug}: {fault} {getattr(fault, 'errors', '')}"


def assert_read_as_from_the_stream(body: bytes, spec: RowSpec = SPEC) -> None:
    plain = parse_plain_body(body)
    chunks = plain and plain.read(spec)
    if plain is None or chunks is None:
        return
    options, wanted = streamed(body, spec)
    assert plain.options == options
    found = chunks_of(chunks)
    if isinstance(wanted, str):
        assert found == wanted
        return
    assert isinstance(found, list)
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(wanted))


@given(MEMBERS, SPACES, SPACES)
def test_a_plain_body_is_read_as_from_the_stream(
    members: list[tuple[str, Any]], before: str, after: str
) -> None:
    assert_read_as_from_the_stream(body_of(members, before, after))


@given(
    rows=ROWS,
    model=st.none() | st.text(max_size=5),
    interactions=st.none() | st.booleans(),
    pairs=st.none() | st.integers(0, 99),
)
def test_usual_bodies_are_plain(
    *, rows: list[list[float | None]], model: str | None, interactions: bool | None, pairs: int | None
) -> None:
    body = body_of(
        [("model", model), ("rows", rows), ("interactions", interactions), ("top_pairs", pairs)], "", "\n"
    )
    plain = parse_plain_body(body)
    if model is None or not re.search('"|true|false', model):
        assert plain is not None
    assert_read_as_from_the_stream(body)


@given(
    st.lists(
        st.lists(st.sampled_from([None, 0, 1, 2.0, 2.5, 4]) | st.booleans(), min_size=2, max_size=2),
        min_size=1,
        max_size=5,
    )
)
def test_labels_are_read_and_refused_as_from_the_stream(rows: list[list[float | None]]) -> None:
    assert_read_as_from_the_stream(body_of([("rows", rows)], "", ""), LABELS)


@given(ROWS, st.data())
def test_a_damaged_body_is_read_as_from_the_stream(rows: list[Any], data: st.DataObject) -> None:
    body = bytearray(body_of([("model", "diabetes"), ("rows", rows)], "", ""))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at : at + data.draw(st.integers(0, 1))] = data.draw(
        st.sampled_from([b"", b'"', b"[", b"]", b",", b"1", b"e", b"-", b"\0"])
    )
    assert_read_as_from_the_stream(bytes(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[[1, 2, 3]]",
        b'{"model": "diabetes"}',
        b'{"rows": []}',
        b'{"rows": [1, 2, 3]}',
        b'{"rows": [[1, 2, 3], [1, 2]]}',
        b'{"rows": [[1, 2, true]]}',
        b'{"rows": [[false, 2, 3]], "interactions": true}',
        b'{"rows": [[1, 2, "3"]]}',
        b'{"rows": [[1, 2, {}]]}',
        b'{"rows": [[1, 2, [3]]]}',
        b'{"rows": [{"age": 1, "sex": 2, "bmi": 3}]}',
        b'{"rows": [[1, 2, NaN]]}',
        b'{"rows": [[1, 2, 3]], "rows": [[1, 2, 3]]}',
        b'{"model": "a", "rows": [[1, 2, 3]], "model": "b"}',
        b'{"model": "a", "rows": [[1, 2, 3]], "mod\\u0065l": "b"}',
        b'{"rows": [[1, 2, 3]], "top_pairs": true}',
        b'{"rows": [[1, 2, 3]], "interactions": 1}',
        b'{"rows": [[1, 2, 3]], "model": 1}',
        b'{"rows": [[1, 2, 3]], "else": null}',
        b'{"rows": [[1, 2, 3]]} x',
        b'\xef\xbb\xbf{"rows": [[1, 2, 3]]}',
    ],
)
def test_other_bodies_are_not_plain(body: bytes) -> None:
    assert parse_plain_body(body) is None


def test_rows_of_another_length_do_not_fit() -> None:
    plain = parse_plain_body(b'{"rows": [[1, 2]]}')
    assert plain is not None
    assert plain.read(SPEC) is None
