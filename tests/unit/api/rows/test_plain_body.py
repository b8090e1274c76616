"""A small JSON body that is parsed at once is read as from the stream."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.api.rows.json_body import read_json_options, read_json_rows
from services.api.rows.request_body import parse_plain_body
from services.api.rows.row_spec import RowSpec
from shared.errors import ShapboxError
from tests.unit.api.rows.reading import category, numbers

SPEC = RowSpec(numbers("age", "sex", "bmi"), chunk_rows=2, max_rows=4)
LABELS = RowSpec((category("class", 1, 2, 3), *numbers("age", "bmi")), chunk_rows=2, max_rows=4)

CELLS = st.none() | st.integers() | st.floats() | st.booleans() | st.sampled_from(["1", '"', {}, [], [1.0]])
NUMBERS = st.none() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
CODES = st.sampled_from([None, 0, 1, 2.0, 2.5, 4])
ROWS = st.lists(st.lists(NUMBERS | CODES, min_size=3, max_size=3), min_size=1, max_size=5)
VALUES: st.SearchStrategy[Any] = (
    ROWS
    | st.lists(st.lists(CELLS, max_size=4) | CELLS, max_size=3)
    | st.sampled_from([None, True, False, 3, 1.5, "diabetes", "", 'a"b', {}, [], {"a": 1}])
)
NAMES = st.sampled_from(
    ["rows", "model", "method", "interactions", "top_pairs", "else", 'ro"ws', "rows\u00e9"]
)


def body_of(members: list[tuple[str, Any]], before: str = "", after: str = "") -> bytes:
    texts = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in members]
    return f"{before}{{{', '.join(texts)}}}{after}".encode()


def chunks_of(chunks: Any) -> list[np.ndarray] | str:
    try:
        return list(chunks)
    except ShapboxError as fault:
        return f"{fault.slug}: {fault} {getattr(fault, 'errors', '')}"


def assert_read_as_from_the_stream(body: bytes) -> None:
    plain = parse_plain_body(body)
    for spec in (SPEC, LABELS):
        if plain is None or (chunks := plain.read(spec)) is None:
            continue
        assert plain.options == read_json_options(io.BytesIO(body))
        wanted, found = chunks_of(read_json_rows(io.BytesIO(body), spec)), chunks_of(chunks)
        if isinstance(wanted, str) or isinstance(found, str):
            assert found == wanted
        else:
            np.testing.assert_array_equal(np.concatenate(found), np.concatenate(wanted))


SPACES = st.sampled_from(["", " ", "\n", "\ufeff", "x"])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5), SPACES, SPACES)
def test_a_plain_body_is_read_as_from_the_stream(
    members: list[tuple[str, Any]], before: str, after: str
) -> None:
    assert_read_as_from_the_stream(body_of(members, before, after))


@given(
    rows=ROWS,
    model=st.none() | st.text(max_size=5),
    flag=st.none() | st.booleans(),
    pairs=st.none() | st.integers(0, 99),
    data=st.data(),
)
def test_usual_bodies_are_plain_and_damaged_ones_are_read_as_from_the_stream(
    *, rows: list[Any], model: str | None, flag: bool | None, pairs: int | None, data: st.DataObject
) -> None:
    members = [("model", model), ("rows", rows), ("interactions", flag), ("top_pairs", pairs)]
    body = bytearray(body_of(members, after="\n"))
    if model is None or not re.search('"|true|false', model):
        assert parse_plain_body(bytes(body)) is not None
    assert_read_as_from_the_stream(bytes(body))
    at = data.draw(st.integers(0, len(body) - 1))
    other = st.sampled_from([b"", b'"', b"[", b"]", b",", b"1", b"e", b"-", b"\0"])
    body[at : at + data.draw(st.integers(0, 1))] = data.draw(other)
    assert_read_as_from_the_stream(bytes(body))


#: Bodies on a line each, and members beside `"rows": [[1, 2, 3]]`.
BODIES = """
[[1, 2, 3]]
{"model": "diabetes"}
{"rows": [[1, 2, 3]]} x
\ufeff{"rows": [[1, 2, 3]]}
{"rows": []}
{"rows": [1, 2, 3]}
{"rows": [[1, 2, 3], [1, 2]]}
{"rows": [[1, 2, true]]}
{"rows": [[1, 2, "3"]]}
{"rows": [[1, 2, {}]]}
{"rows": [[1, 2, [3]]]}
{"rows": [[1, 2, NaN]]}
{"rows": [{"age": 1, "sex": 2, "bmi": 3}]}
{"rows": [[false, 2, 3]], "interactions": true}
{"model": "a", "rows": [[1, 2, 3]], "model": "b"}
{"model": "a", "rows": [[1, 2, 3]], "mod\\u0065l": "b"}"""
MEMBERS = ('"rows": [[1, 2, 3]]', '"top_pairs": true', '"interactions": 1', '"model": 1', '"else": null')


def test_other_bodies_are_not_plain() -> None:
    bodies = [*BODIES.split("\n"), *(f'{{"rows": [[1, 2, 3]], {member}}}' for member in MEMBERS)]
    assert [body for body in bodies if parse_plain_body(body.encode()) is not None] == []
    plain = parse_plain_body(b'{"rows": [[1, 2]]}')
    assert plain is not None
    assert plain.read(SPEC) is None  # rows of another length
