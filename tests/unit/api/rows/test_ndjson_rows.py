from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.api.rows.json_rows import read_ndjson
from services.api.rows.row_spec import BLOCK_BYTES, RowSpec
from shared.errors import InvalidRowsError, TooManyRowsError, UnreadableBodyError
from tests.unit.api.rows.features import category, numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPEC = RowSpec(numbers("age", "sex", "bmi"), chunk_rows=2, max_rows=100)
LABELLED = RowSpec((*numbers("a"), category("b", "x")), chunk_rows=500, max_rows=10_000)


def read(body: bytes | str, spec: RowSpec = SPEC) -> NDArray[np.float32]:
    data = body.encode() if isinstance(body, str) else body
    return np.concatenate(list(read_ndjson(io.BytesIO(data), spec)))


def refusal(body: bytes | str, spec: RowSpec = SPEC) -> InvalidRowsError:
    with pytest.raises(InvalidRowsError) as caught:
        read(body, spec)
    return caught.value


def test_arrays_and_objects_may_stand_side_by_side() -> None:
    body = '[1,2,null]\r\n\n{"bmi": 6, "age": 4, "sex": 5e0}\n  [7, 8, 9]'
    expected = np.array([[1, 2, np.nan], [4, 5, 6], [7, 8, 9]], dtype=np.float32)
    np.testing.assert_array_equal(read(body), expected)


def test_a_model_of_one_feature_takes_objects_too() -> None:
    assert read('{"x": 1}\n[2]\n', RowSpec(numbers("x"), 9, 9)).tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("row", "column", "told"),
    [
        ("[1,2]", None, "2 values"),
        ("[1,2,3,4]", None, "4 values"),
        ("[]", None, "0 values"),
        ("5", None, "this is 5"),
        ('"age"', None, "text"),
        ("null", None, "null"),
        ('{"age":1,"sex":2}', "bmi", "lacks"),
        ('{"age":1,"sex":2,"bmi":3,"height":4}', "height", "no such feature"),
        ('{"age":1,"sex":2,"bmi":3,"bmi":3}', "bmi", "more than once"),
        ('{"age":1,"sex":2,"bmi":3,"\\u0062mi":4}', "bmi", "more than once"),
        ('[1,"tall",3]', "sex", "'tall'"),
        ("[1,[2],3]", "sex", "an array is not a number"),
        ('[1,{"a":2},3]', "sex", "an object"),
        ('{"age":1,"sex":"2","bmi":3}', "sex", "'2'"),
        ("[1,-Infinity,3]", "sex", "infinity"),
        ("[1,Infinity,NaN]", "sex", "infinity"),
        ("[1e999,2,3]", "age", "infinity"),
        (f"[1,2,{'9' * 5000}]", "bmi", "infinity"),
        ("[1,2,1e39]", "bmi", "float32's range"),
    ],
)
def test_a_faulty_row_is_refused_with_its_number_and_the_feature(
    row: str, column: str | None, told: str
) -> None:
    error = refusal(f"[1,2,3]\n[4,5,6]\n{row}\n").errors[0]
    assert (error.row, error.column) == (2, column)
    assert told in error.detail


def test_doubled_features_are_found_though_names_hold_colons() -> None:
    spec = RowSpec(numbers("a:b", "c"), 9, 9)
    assert read('{"a:b":1,"c":2}', spec).tolist() == [[1, 2]]
    assert refusal('{"a\\u003ab":1,"c":2,"c":3}', spec).errors[0].column == "c"


def test_half_a_surrogate_in_a_name_can_be_reported() -> None:
    error = refusal('{"\\ud800":NaN,"age":1,"sex":2,"bmi":3}').errors[0]
    assert error.column is not None
    error.column.encode()


@pytest.mark.parametrize("body", [b"", b"\xef\xbb\xbf"])
def test_an_empty_body_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError, match="is empty"):
        read(body)


@pytest.mark.parametrize("spec", [SPEC, LABELLED])
@pytest.mark.parametrize("lines", [1, 2, 2 * BLOCK_BYTES])
def test_blank_lines_alone_are_no_rows(spec: RowSpec, lines: int) -> None:
    assert "no rows" in str(refusal("\n" * lines, spec))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n" * (2 * BLOCK_BYTES), "\n" * BLOCK_BYTES + '[1,"x"]\n'])
def test_blank_lines_after_a_block_that_ends_with_a_line_are_skipped(end: str) -> None:
    block = '[1,"x"]\n' * (BLOCK_BYTES // 8)
    assert len(block) == BLOCK_BYTES
    assert read(block + end, LABELLED).tolist() == [[1, 0]] * (block + end).count("[")


@pytest.mark.parametrize("tail", ["[1,2", '{"age":1,"se', "[1,2,3", "[1,2,3]["])
def test_a_body_cut_off_in_its_last_line_is_unreadable_and_the_row_is_named(tail: str) -> None:
    with pytest.raises(UnreadableBodyError, match=r"cut off.*Row 1 "):
        read(f"[1,2,3]\n{tail}")


@pytest.mark.parametrize("line", ["[1,2,,3]", "{age:1}", "[1,2,3]]", "\x00", "[1,2,3] [4,5,6]", "hello"])
def test_a_line_that_is_not_json_is_unreadable_and_the_row_is_named(line: str) -> None:
    with pytest.raises(UnreadableBodyError, match=r"^Row 1 is not valid JSON"):
        read(f"[1,2,3]\n{line}\n[1,2,3]\n")


def test_bytes_that_are_not_utf8_are_unreadable() -> None:
    with pytest.raises(UnreadableBodyError):
        read(b'{"\xe9":1}\n')


@pytest.mark.parametrize("levels", [10, 1000, 30_000, 100_000])
@pytest.mark.parametrize("opened", ["[", '{"a":'])
def test_deep_nesting_is_refused_at_once(levels: int, opened: str) -> None:
    closed = "]" if opened == "[" else "}"
    started = time.process_time()
    with pytest.raises((InvalidRowsError, UnreadableBodyError)):
        read(opened * levels + "1" + closed * levels + "\n")
    assert time.process_time() - started < 1


def test_a_line_without_an_end_is_refused_with_its_number() -> None:
    assert refusal(b"[1,2,3]\n[" + b"1," * 1_000_000).errors[0].row == 1


def test_more_rows_than_the_limit_are_refused_with_the_limit() -> None:
    with pytest.raises(TooManyRowsError, match="100 rows"):
        read("[1,2,3]\n" * 101)
