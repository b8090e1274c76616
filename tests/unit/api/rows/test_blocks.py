"""A cell's meaning depends neither on the ends of blocks nor on the cells around it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Literal
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.api.rows import csv_rows, json_rows, json_scanner, line_blocks
from services.api.rows.csv_rows import read_csv
from services.api.rows.json_body import read_json_rows
from services.api.rows.json_rows import read_ndjson
from services.api.rows.row_spec import RowSpec
from shared.errors import ShapboxError, UnreadableBodyError
from tests.unit.api.rows.features import category, numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.models.contract import Feature

#: Blocks that end everywhere, some that end rarely, and the usual ones.
BLOCKS = (1, 2, 3, 5, 7, 11, 64, 65_536)

KINDS: list[Callable[[str], Feature]] = [
    lambda name: numbers(name)[0],
    lambda name: category(name, "a", "10", "None", "", 'q"', "x,y", "two\nlines"),
    lambda name: category(name, 10, 20, 2**53 + 1),
    category,
]
FEATURES = st.lists(st.sampled_from(KINDS), min_size=1, max_size=4).map(
    lambda kinds: tuple(kind(f"f{place}") for place, kind in enumerate(kinds))
)
MISSING = st.sampled_from([(), (-999.0,), (1.0, 20.0)])
#: Quotes where they are needed, or everywhere.
QUOTINGS: tuple[Literal[0], Literal[1]] = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)

ENDS = st.sampled_from(["\n", "\r\n"])

CSV_CELLS = st.sampled_from(
    [
        *(
            "",
            " ",
            "1",
            "10",
            "20",
            "2.5",
            "-3e2",
            "+1",
            ".5",
            "007",
            "-0",
            "9007199254740993",
            "9007199254740992",
        ),
        *(
            "nan",
            "-nan",
            "+nan",
            "NA",
            "null",
            "None",
            "<NA>",
            "True",
            "false",
            "-999",
            "1e999",
            "inf",
            "1e39",
        ),
        *("a", " a ", 'q"', "x,y", "two\nlines", "1_0", "\u0661", "caf\u00e9"),
    ]
)
JSON_CELLS = st.sampled_from(
    [
        *(
            "1",
            "10",
            "10.0",
            "20",
            "2.5",
            "-3e2",
            "-0",
            "9007199254740993",
            "9007199254740992",
            "-999",
            "1e39",
            "1e999",
        ),
        *(
            "null",
            "NaN",
            "Infinity",
            "true",
            "false",
            '"a"',
            '"10"',
            '"q\\""',
            '"x,y"',
            '"]"',
            '"\\u0061"',
            '"}"',
        ),
    ]
)


class ShortReads(io.BytesIO):
    """A body that gives fewer bytes than are asked for."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(-1 if size is None or size < 0 else min(size, 5))


def outcome(read: Any, stream: io.BytesIO, spec: RowSpec, block: int) -> Any:
    """Return the rows as bytes, or the refusal, without texts that may name bytes."""
    with patch.object(line_blocks, "BLOCK_BYTES", block), patch.object(json_scanner, "BLOCK_BYTES", block):
        try:
            # Zero has one sign, so that -0 and -0.0 are alike.
            return (np.concatenate(list(read(stream, spec))) + np.float32(0)).tobytes()
        except ShapboxError as fault:
            details = getattr(fault, "errors", None)
            return type(fault), None if isinstance(fault, UnreadableBodyError) else str(fault), details


def assert_all_alike(read: Any, body: bytes, spec: RowSpec) -> Any:
    wanted = outcome(read, io.BytesIO(body), spec, BLOCKS[-1])
    for block in BLOCKS:
        assert outcome(read, io.BytesIO(body), spec, block) == wanted, block
    assert outcome(read, ShortReads(body), spec, BLOCKS[-1]) == wanted
    with (
        patch.object(csv_rows, "_parse_plain", lambda *_: None),
        patch.object(json_scanner, "count_rows", lambda *_: 0),
        patch.object(json_rows, "count_rows", lambda *_: 0),
    ):
        assert outcome(read, io.BytesIO(body), spec, BLOCKS[-1]) == wanted
    return wanted


@settings(max_examples=300, deadline=None)
@given(
    features=FEATURES,
    missing=MISSING,
    end=ENDS,
    chunk_rows=st.integers(1, 4),
    quoting=st.sampled_from(QUOTINGS),
    mark=st.booleans(),
    data=st.data(),
)
def test_csv_is_read_alike_in_blocks_of_any_size(
    *,
    features: tuple[Feature, ...],
    missing: tuple[float, ...],
    end: str,
    chunk_rows: int,
    quoting: Literal[0, 1],
    mark: bool,
    data: st.DataObject,
) -> None:
    spec = RowSpec(features, chunk_rows, 1000, missing)
    row = st.lists(CSV_CELLS, min_size=len(features), max_size=len(features))
    lines = data.draw(
        st.lists(st.one_of(row, row, row, st.just([]), st.lists(CSV_CELLS, max_size=5)), max_size=12)
    )
    file = io.StringIO()
    csv.writer(file, lineterminator=end, quoting=quoting).writerows(
        [data.draw(st.permutations(spec.names)), *lines]
    )
    text = file.getvalue()
    if data.draw(st.booleans()):
        text = text.removesuffix(end)
    assert_all_alike(read_csv, ("\ufeff" * mark + text).encode(), spec)


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(st.sampled_from('ab1", \n\r')),
    features=st.sampled_from([numbers("a"), numbers("a", "b"), (category("a", '1"', "1"),)]),
)
def test_stray_quotes_in_csv_are_read_alike_in_blocks_of_any_size(
    text: str, features: tuple[Feature, ...]
) -> None:
    spec = RowSpec(features, 1000, 1000)
    body = ",".join(spec.names) + "\n" + text
    wanted = outcome(read_csv, io.BytesIO(body.encode()), spec, BLOCKS[-1])
    for block in BLOCKS:
        got = outcome(read_csv, io.BytesIO(body.encode()), spec, block)
        # A body with a faulty row and a quote that is not closed is refused for either.
        assert got == wanted or (isinstance(got, tuple) and isinstance(wanted, tuple)), block


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_stray_quote_does_not_open_a_quoted_cell(end: str) -> None:
    spec = RowSpec((category("size", '5"', f"two{end}lines"), *numbers("b")), 1000, 1000)
    body = end.join(["size,b", '5",1', f'"two{end}lines",2', '5",3', ""]).encode()
    rows = assert_all_alike(read_csv, body, spec)
    assert rows == np.array([[0, 1], [1, 2], [0, 3]], np.float32).tobytes()


def rows_of_json(features: tuple[Feature, ...]) -> st.SearchStrategy[str]:
    cells = st.lists(JSON_CELLS, min_size=len(features), max_size=len(features))
    plain = st.lists(
        st.sampled_from(["1", "10", "null", "-0.5"]), min_size=len(features), max_size=len(features)
    )
    named = st.tuples(cells, st.permutations(range(len(features)))).map(
        lambda drawn: (
            "{" + ",".join(f'"{features[place].name}": {drawn[0][place]}' for place in drawn[1]) + "}"
        )
    )
    array = (cells | plain).map(lambda drawn: f"[{','.join(drawn)}]")
    return st.one_of(
        array, array, named, st.lists(JSON_CELLS, max_size=5).map(lambda drawn: f"[{','.join(drawn)}]")
    )


@settings(max_examples=300, deadline=None)
@given(features=FEATURES, missing=MISSING, chunk_rows=st.integers(1, 4), data=st.data())
def test_json_and_ndjson_are_read_alike_in_blocks_of_any_size(
    features: tuple[Feature, ...], missing: tuple[float, ...], chunk_rows: int, data: st.DataObject
) -> None:
    spec = RowSpec(features, chunk_rows, 1000, missing)
    rows = data.draw(st.lists(rows_of_json(features), min_size=1, max_size=12))
    body = f'\ufeff{{"model": "m", "rows": [{", ".join(rows)}]}}'.encode()
    in_json = assert_all_alike(read_json_rows, body, spec)
    end = data.draw(st.sampled_from(["\n", "\n\n\n", "\r\n\r\n"]))
    in_lines = assert_all_alike(read_ndjson, end.join(rows).encode(), spec)
    assert in_lines == in_json
    if not isinstance(in_json, tuple):
        alone = [outcome(read_ndjson, io.BytesIO(row.encode()), spec, BLOCKS[-1]) for row in rows]
        assert b"".join(alone) == in_json


@settings(max_examples=200, deadline=None)
@given(features=FEATURES, missing=MISSING, data=st.data())
def test_a_row_of_csv_means_the_same_alone_and_among_others(
    features: tuple[Feature, ...], missing: tuple[float, ...], data: st.DataObject
) -> None:
    spec = RowSpec(features, 1000, 1000, missing)
    rows = data.draw(
        st.lists(st.lists(CSV_CELLS, min_size=len(features), max_size=len(features)), min_size=1, max_size=8)
    )

    def read(some: list[list[str]]) -> Any:
        file = io.StringIO()
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([spec.names, *some])
        return outcome(read_csv, io.BytesIO(file.getvalue().encode()), spec, BLOCKS[-1])

    together = read(rows)
    alone = [read([row]) for row in rows]
    if isinstance(together, tuple):
        assert any(isinstance(one, tuple) for one in alone)
    else:
        assert b"".join(alone) == together
