"""A cell's meaning does not depend on block ends, the cells around it, or the format."""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from services.api.rows import csv_rows, json_rows, json_scanner, line_blocks, request_body
from services.api.rows.json_body import read_json_options
from services.api.rows.json_scanner import BETWEEN_LINES, count_rows
from services.api.rows.request_body import parse_plain_body
from services.api.rows.row_spec import BLOCK_BYTES, RowSpec
from shared.errors import ShapboxError, UnprocessableError, UnreadableBodyError
from shared.models.contract import Feature
from tests.unit.api.rows.reading import READERS, SPEC, Floats, category, invalid, npy, numbers

#: Blocks that end everywhere, and some that end rarely.
BLOCKS = (1, 3, 64)
#: Rows that take four blocks.
MANY = 4 * BLOCK_BYTES // len("[1,2,3],")
KINDS = [
    lambda name: numbers(name)[0],
    lambda name: category(name, "a", "10", "None", "", 'q"', "x,y", "two\nlines"),
    lambda name: category(name, 10, 20, 2**53 + 1),
    category,
]
FEATURES = st.lists(st.sampled_from(KINDS), min_size=1, max_size=4).map(
    lambda kinds: tuple(kind(f"f{place}") for place, kind in enumerate(kinds))
)
SPECS = st.builds(
    lambda features, chunk_rows, missing: RowSpec(features, chunk_rows, 1000, missing),
    FEATURES,
    st.integers(1, 4),
    st.sampled_from([(), (-999.0,), (1.0, 20.0)]),
)
LARGE = "9007199254740993 9007199254740992"
CSV_WORDS = f"""1 10 20 2.5 -3e2 +1 .5 007 -0 {LARGE} nan -nan +nan NA null None <NA> True false
    -999 1e999 inf 1e39 a q" x,y 1_0 \u0661 caf\u00e9"""
CSV_CELLS = st.sampled_from([*CSV_WORDS.split(), "", " ", " a ", "two\nlines"])
JSON_CELLS = st.sampled_from(
    rf"""1 10 10.0 20 2.5 -3e2 -0 -999 1e39 1e999 {LARGE} null NaN Infinity true false
    "a" "10" "q\"" "x,y" "]" "\u0061" "}}" """.split()
)
#: Quotes where they are needed, or everywhere.
QUOTINGS: tuple[Literal[0], Literal[1]] = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)


class ShortReads(io.BytesIO):
    """A body that gives fewer bytes than are asked for."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(-1 if size is None or size < 0 else min(size, 5))


def outcome(form: str, body: bytes | io.BytesIO, spec: RowSpec, block: int = BLOCK_BYTES) -> Any:
    """Return the rows as bytes, or the refusal, without texts that may name bytes."""
    stream = io.BytesIO(body) if isinstance(body, bytes) else body
    with patch.object(line_blocks, "BLOCK_BYTES", block), patch.object(json_scanner, "BLOCK_BYTES", block):
        try:
            # Zero has one sign, so that -0 and -0.0 are alike.
            return (np.concatenate(list(READERS[form](stream, spec))) + np.float32(0)).tobytes()
        except ShapboxError as fault:
            details = getattr(fault, "errors", None)
            return type(fault), None if isinstance(fault, UnreadableBodyError) else str(fault), details


def alike(got: Any, wanted: Any) -> bool:
    """Tell whether outcomes are the same, or refusals of a faulty and unreadable body."""
    refused = isinstance(got, tuple) and isinstance(wanted, tuple)
    return bool(got == wanted or (refused and UnreadableBodyError in {got[0], wanted[0]}))


def outcome_of_all(form: str, body: bytes, spec: RowSpec) -> Any:
    """Return the one outcome of blocks of each size, short reads, and the careful ways."""
    wanted = outcome(form, body, spec)
    for block in BLOCKS:
        assert alike(outcome(form, body, spec, block), wanted), block
    assert alike(outcome(form, ShortReads(body), spec), wanted)
    with (
        patch.object(csv_rows, "_parse_plain", lambda *_: None),
        patch.object(request_body, "parse_plain_body", lambda _: None),
        patch.object(json_scanner, "count_rows", lambda *_: 0),
        patch.object(json_rows, "count_rows", lambda *_: 0),
    ):
        assert alike(outcome(form, body, spec), wanted)
    return wanted


def csv_text(lines: list[Any], end: str = "\r\n", quoting: Literal[0, 1] = csv.QUOTE_ALL) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator=end, quoting=quoting).writerows(lines)
    return file.getvalue()


@settings(max_examples=60)
@given(spec=SPECS, data=st.data())
def test_csv_is_read_alike_in_blocks_of_any_size_and_a_row_alone_as_among_others(
    spec: RowSpec, data: st.DataObject
) -> None:
    row = st.lists(CSV_CELLS, min_size=len(spec.names), max_size=len(spec.names))
    rows = data.draw(st.lists(row, min_size=1, max_size=8))
    whole = RowSpec(spec.features, 1000, 1000, spec.missing)
    together = outcome("csv", csv_text([spec.names, *rows]).encode(), whole)
    alone = [outcome("csv", csv_text([spec.names, row]).encode(), whole) for row in rows]
    if isinstance(together, tuple):
        assert any(isinstance(one, tuple) for one in alone)
    else:
        assert b"".join(alone) == together

    lines = [*rows, *data.draw(st.lists(st.just([]) | st.lists(CSV_CELLS, max_size=5), max_size=3))]
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    quoting: Literal[0, 1] = data.draw(st.sampled_from(QUOTINGS))
    text = csv_text(
        [data.draw(st.permutations(spec.names)), *data.draw(st.permutations(lines))], end, quoting
    )
    mark, last = "\ufeff" * data.draw(st.booleans()), end * data.draw(st.booleans())
    outcome_of_all("csv", (mark + text.removesuffix(end) + last).encode(), spec)


@settings(max_examples=60)
@given(
    text=st.text(st.sampled_from('ab1", \n\r')),
    features=st.sampled_from([numbers("a"), numbers("a", "b"), (category("a", '1"', "1"),)]),
)
def test_stray_quotes_in_csv_are_read_alike_in_blocks_of_any_size(
    text: str, features: tuple[Feature, ...]
) -> None:
    spec = RowSpec(features, 1000, 1000)
    outcome_of_all("csv", (",".join(spec.names) + "\n" + text).encode(), spec)


def test_a_stray_quote_does_not_open_a_quoted_cell() -> None:
    for end in ("\n", "\r\n"):
        spec = RowSpec((category("size", '5"', f"two{end}lines"), *numbers("b")), 1000, 1000)
        body = end.join(["size,b", '5",1', f'"two{end}lines",2', '5",3', ""]).encode()
        assert outcome_of_all("csv", body, spec) == np.array([[0, 1], [1, 2], [0, 3]], np.float32).tobytes()


def rows_of_json(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    def array_of(cells: st.SearchStrategy[str], least: int, most: int) -> st.SearchStrategy[str]:
        return st.lists(cells, min_size=least, max_size=most).map(lambda some: f"[{','.join(some)}]")

    def named(members: list[tuple[str, str]]) -> str:
        return "{" + ",".join(f'"{name}": {cell}' for name, cell in members) + "}"

    count = len(names)
    usual = array_of(st.sampled_from(["1", "10", "null", "-0.5"]), count, count)
    pairs = st.tuples(*(st.tuples(st.just(name), JSON_CELLS) for name in names))
    objects = pairs.flatmap(st.permutations).map(named)
    return usual | array_of(JSON_CELLS, count, count) | objects | array_of(JSON_CELLS, 0, 5)


@settings(max_examples=60)
@given(spec=SPECS, data=st.data())
def test_json_and_ndjson_are_read_alike_in_blocks_of_any_size(spec: RowSpec, data: st.DataObject) -> None:
    rows = data.draw(st.lists(rows_of_json(spec.names), min_size=1, max_size=8))
    body = f'\ufeff{{"model": "m", "rows": [{", ".join(rows)}], "method": null}}'
    in_json = outcome_of_all("json", body.encode(), spec)
    other_member = outcome_of_all("json", body.replace("method", "rowz").encode(), spec)
    assert other_member[:2] == (UnprocessableError, outcome("json", b'{"rows":[[1]],"rowz":1}', spec)[1])
    end = data.draw(st.sampled_from(["\n", "\n\n\n", "\r\n\r\n"]))
    assert outcome_of_all("ndjson", end.join(rows).encode(), spec) == in_json
    if not isinstance(in_json, tuple):
        assert b"".join(outcome("ndjson", row.encode(), spec) for row in rows) == in_json


CELLS = st.none() | st.integers() | st.floats() | st.booleans() | st.sampled_from(["1", '"', {}, [], [1.0]])
NUMBERS = st.none() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=5)
VALUES: st.SearchStrategy[Any] = (
    ROWS
    | st.lists(st.lists(CELLS, max_size=4) | CELLS, max_size=3)
    | st.sampled_from([None, True, False, 3, 1.5, "diabetes", "", 'a"b', {}, [], {"a": 1}])
)
MEMBERS = st.sampled_from(
    ["rows", "model", "method", "interactions", "top_pairs", "else", 'ro"ws', "ro\u00e9"]
)
DAMAGE = st.sampled_from([b"", b'"', b"[", b"]", b",", b"1", b"e", b"-", b"\0", b"\xef\xbb\xbf"])


@settings(max_examples=150)
@given(
    rows=ROWS, others=st.lists(st.tuples(MEMBERS, VALUES), max_size=4), place=st.integers(0), damage=DAMAGE
)
def test_a_json_body_parsed_at_once_is_read_as_from_the_stream(
    rows: Any, others: list[tuple[str, Any]], place: int, damage: bytes
) -> None:
    members = [*others[:2], ("rows", rows), *others[2:]]
    body = f"{{{', '.join(f'{json.dumps(name)}: {json.dumps(value)}' for name, value in members)}}}".encode()
    place %= len(body) + 1
    for sent in (body, body[:place] + damage + body[place:], body[:place] + damage + body[place + 1 :]):
        wanted = outcome_of_all("json", sent, SPEC)
        plain = parse_plain_body(sent)
        if plain is not None and not isinstance(wanted, tuple):
            assert plain.options == read_json_options(io.BytesIO(sent))
    if not others:
        assert parse_plain_body(body) is not None


MATRICES = np_st.arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(1, 6)),
    elements=st.floats(width=32, allow_infinity=False, allow_nan=True),
)
# A name of blanks alone is, as the only column, a blank line of CSV.
NAMES = st.text("ab,\"':[{\\\n\t \u00a0\u00e9\U0001f600", min_size=1, max_size=8).filter(str.strip)


@settings(max_examples=60)
@given(data=st.data(), matrix=MATRICES, chunk_rows=st.integers(1, 50))
def test_the_same_matrix_comes_out_of_all_readers_whatever_the_chunks(
    data: st.DataObject, matrix: Floats, chunk_rows: int
) -> None:
    columns = matrix.shape[1]
    unique = st.lists(NAMES, min_size=columns, max_size=columns, unique_by=lambda name: name.strip())
    names = tuple(data.draw(unique))
    order = data.draw(st.permutations(range(columns)))
    spec = RowSpec(numbers(*names), chunk_rows, len(matrix))
    cells = [[None if np.isnan(cell) else float(cell) for cell in row] for row in matrix]
    # Arrays and objects in turn, the objects' members in another order.
    rows = [
        {names[column]: row[column] for column in order} if index % 2 else row
        for index, row in enumerate(cells)
    ]
    # "nan" rather than empty: an empty line of a one-column model would be no row.
    table = [["nan" if row[column] is None else row[column] for column in order] for row in cells]
    bodies = [
        ("csv", csv_text([[names[column] for column in order], *table], quoting=csv.QUOTE_MINIMAL).encode()),
        ("ndjson", "\n".join(map(json.dumps, rows)).encode()),
        ("json", json.dumps({"rows": rows}, ensure_ascii=columns > 2).encode()),
        ("npy", npy(matrix)),
        ("npy", npy(matrix.astype(">f8"))),
    ]
    for form, body in bodies:
        chunks = list(READERS[form](io.BytesIO(body), spec))
        np.testing.assert_array_equal(np.concatenate(chunks), matrix)
        assert all(len(chunk) == chunk_rows for chunk in chunks[:-1])
        assert all(chunk.flags.c_contiguous and chunk.dtype == np.float32 for chunk in chunks)


def test_other_texts_do_not_count_as_usual_rows() -> None:
    others = [
        *("", "1,2", "[1,2", "1,2]", "[1,[2]]", "[[1,2]]", "[1],2,[3]", "[1] [2]", "[1],,[2]", "[1],[2],"),
        *("[1],2", "[1], [2],[3]", '["]"]', '["1]', '{"a":1}}', '{"[":1}'),
    ]
    assert [text for text in others if count_rows(text.encode())] == []
    on_lines = {"[1]\n[2]": 2, "[1]\r\n[2]": 2, "[1],[2]": 0, '{"a":1}\n[2]\n[3]': 0}
    assert {text: count_rows(text.encode(), BETWEEN_LINES) for text in on_lines} == on_lines


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_a_fault_among_many_plain_rows_is_reported_with_its_row(form: str) -> None:
    spec = RowSpec(SPEC.features, 500, 1_000_000)
    places = (0, 1, MANY // 2, MANY - 2, MANY - 1)
    for place, faulty in zip(places, ["[1,2]", '[1,"2",3]', "[1,1e999,3]", '{"age":1}', "[]"], strict=True):
        rows = ["[1,2,3]"] * MANY
        rows[place] = faulty
        body = f'{{"rows":[{",".join(rows)}]}}' if form == "json" else "\n".join(rows)
        assert {error.row for error in invalid(form, body, spec).errors} == {place}
