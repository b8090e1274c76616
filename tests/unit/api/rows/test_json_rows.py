from __future__ import annotations

import contextlib
import io
import json
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.api.rows.json_body import BodyOptions, read_json_options, read_json_rows
from services.api.rows.row_spec import RowSpec
from shared.errors import (
    InvalidRowsError,
    TooManyRowsError,
    UnprocessableError,
    UnreadableBodyError,
)
from tests.unit.api.rows.features import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPEC = RowSpec(numbers("age", "sex", "bmi"), chunk_rows=2, max_rows=100)


def read(body: bytes | str, spec: RowSpec = SPEC) -> tuple[BodyOptions, NDArray[np.float32]]:
    stream = io.BytesIO(body.encode() if isinstance(body, str) else body)
    options = read_json_options(stream)
    stream.seek(0)
    return options, np.concatenate(list(read_json_rows(stream, spec)))


def refusal(rows: str) -> InvalidRowsError:
    with pytest.raises(InvalidRowsError) as caught:
        read(f'{{"rows": {rows}, "model": "m"}}')
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        '{"model": "m@1", "rows": [[1,2,3],[4,5,null]], "method": "interventional"}',
        '{"rows":[[1,2,3],{"bmi":null,"sex":5,"age":4}],"method":"interventional","model":"m@1"}',
        '\ufeff \n{ "method" : "interventional" ,\t"model":"\\u006d@1", "rows" : [ [1,\n2,3] , [4,5,null] ] }\r\n ',
    ],
)
def test_members_are_read_in_any_order(body: str) -> None:
    options, rows = read(body)
    assert options == BodyOptions("m@1", "interventional")
    np.testing.assert_array_equal(rows, np.array([[1, 2, 3], [4, 5, np.nan]], dtype=np.float32))


def test_interactions_and_top_pairs_are_a_flag_and_a_number() -> None:
    body = '{"interactions": true, "rows": [[1,2,3]], "top_pairs":7 }'
    assert read(body)[0] == BodyOptions(interactions=True, top_pairs=7)
    assert read('{"rows": [[1,2,3]],"interactions":false}')[0] == BodyOptions(interactions=False)
    assert read('{"rows": [[1,2,3]],"interactions":null,"top_pairs":null}')[0] == BodyOptions()


@pytest.mark.parametrize(
    "member",
    [
        *('"interactions": "true"', '"interactions": 1', '"interactions": [true]'),
        *('"top_pairs": "7"', '"top_pairs": 7.5', '"top_pairs": true', '"top_pairs": 1e2', '"model": true'),
    ],
)
def test_an_option_of_another_kind_is_wrong(member: str) -> None:
    with pytest.raises(UnprocessableError, match="must be"):
        read(f'{{"rows": [[1,2,3]], {member}}}')


@pytest.mark.parametrize("member", ['"interactions": tru', '"interactions": falsey', '"top_pairs": 0x7'])
def test_an_option_that_is_no_json_is_unreadable(member: str) -> None:
    with pytest.raises(UnreadableBodyError):
        read(f'{{"rows": [[1,2,3]], {member}}}')


def test_options_may_be_left_out_or_null() -> None:
    assert read('{"rows": [[1,2,3]], "model": null}')[0] == BodyOptions(None, None)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("[[1,2,3]]", "must be a JSON object"),
        ('"text"', "must be a JSON object"),
        ("5", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ("{}", '"rows" is missing'),
        ('{"model": "m"}', '"rows" is missing'),
        ('{"rows": 5}', "must be an array"),
        ('{"rows": null}', "must be an array"),
        ('{"rows": [[1,2,3]], "rows": [[1,2,3]]}', "more than once"),
        ('{"model": "a", "rows": [[1,2,3]], "model": "b"}', "more than once"),
        ('{"rows": [[1,2,3]], "data": []}', "Unknown member 'data'"),
        ('{"rows": [[1,2,3]], "model": 5}', "must be a string"),
        ('{"rows": [[1,2,3]], "method": ["x"]}', "must be a string"),
    ],
)
def test_a_body_of_another_shape_is_refused_and_the_right_one_is_described(body: str, told: str) -> None:
    with pytest.raises(UnprocessableError, match=told):
        read(body)


@pytest.mark.parametrize("rows", ["[]", " [ ] "])
def test_an_empty_list_of_rows_is_refused(rows: str) -> None:
    assert "no rows" in str(refusal(rows))


@pytest.mark.parametrize(
    ("row", "column", "told"),
    [
        ("[1,2]", None, "2 values"),
        ("7", None, "its own brackets"),
        ('"age"', None, "its own brackets"),
        ("null", None, "its own brackets"),
        ('{"age":1,"sex":2}', "bmi", "lacks"),
        ('{"age":1,"sex":2,"bmi":3,"height":4}', "height", "no such feature"),
        ('{"age":1,"age":1,"sex":2,"bmi":3}', "age", "more than once"),
        ('[1,"]",3]', "sex", "not a number"),
        ('[1,"\\"]",3]', "sex", "not a number"),
        ('[1,"[{",3]', "sex", "not a number"),
        ('{"age":1,"sex":2,"bmi":3,"}":4}', "}", "no such feature"),
        ('[1,"5",3]', "sex", "without quotes"),
        ('[1,"NA",3]', "sex", "send null"),
        ("[1,Infinity,3]", "sex", "infinity"),
        ("[1,1e999,3]", "sex", "infinity"),
        ("[1,-1e39,3]", "sex", "float32's range"),
        ("[1,[2],3]", None, "flat"),
        ("[[1,2,3]]", None, "flat"),
        ('{"age":{"x":1},"sex":2,"bmi":3}', None, "flat"),
    ],
)
def test_a_faulty_row_is_refused_with_its_number_and_the_feature(
    row: str, column: str | None, told: str
) -> None:
    error = refusal(f"[[1,2,3], [4,5,6], {row}]").errors[0]
    assert (error.row, error.column) == (2, column)
    assert told in error.detail


def test_a_feature_under_another_name_is_shown_beside_the_missing_one() -> None:
    errors = refusal('[{"age":1,"bmi":2,"sexx":3}]').errors
    assert [error.column for error in errors] == ["sexx", "sex"]
    assert "has 'sexx' instead" in errors[1].detail
    assert "null" not in errors[1].detail


@pytest.mark.parametrize(
    "rows",
    [
        '{"age":1,"sex":true,"bmi":null}',
        '[{"bmi":NaN,"sex":1.0,"age":true}]',
        "[[1,true,NaN]]",
        "[[true,1,null]]",
    ],
)
def test_a_single_row_needs_no_array_and_true_is_1_and_nan_is_missing(rows: str) -> None:
    np.testing.assert_array_equal(read(f'{{"rows": {rows}}}')[1], [[1, 1, np.nan]])
    assert read_json_options(io.BytesIO(f'{{"rows": {rows}, "model": "m"}}'.encode()), 1).model == "m"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("{}", "lacks this feature"),
        ('{"age":1}', "lacks this feature"),
        ('{"age":[1,2],"sex":[1,2],"bmi":[1,2]}', "orient='records'"),
        ('{"0":{"age":1,"sex":1,"bmi":1}}', "orient='records'"),
        ("[1,2,3]", "its own brackets"),
    ],
)
def test_an_object_that_is_no_single_row_is_refused_with_the_remedy(rows: str, told: str) -> None:
    assert told in refusal(rows).errors[0].detail


@pytest.mark.parametrize("body", ["", " \n", "\ufeff"])
def test_an_empty_body_is_unreadable(body: str) -> None:
    with pytest.raises(UnreadableBodyError, match="is empty"):
        read(body)


def test_a_body_cut_off_anywhere_is_unreadable_and_the_place_is_given() -> None:
    body = b'{"model": "m", "rows": [[1,2,3],{"age":1,"sex":2,"bmi":null}], "method": null}'
    for end in range(1, len(body)):
        with pytest.raises(UnreadableBodyError, match=f"cut off after {end} bytes"):
            read(body[:end])


@pytest.mark.parametrize(
    "body",
    [
        '{"rows": [[1,2,3],]}',
        '{"rows": [,[1,2,3]]}',
        '{"rows": [[1,2,3] [1,2,3]]}',
        '{"rows": [[1,,3]]}',
        '{"rows": [[1,2,3}]}',
        '{"rows": [{"age":1]]}',
        '{"rows" [[1,2,3]]}',
        '{"rows": [[1,2,3]],}',
        '{"rows": [[1,2,3]]} {}',
        '{"rows": [[1,2,3]]}x',
        "{rows: [[1,2,3]]}",
        '{"rows": [[1,2,3]], "model": nil}',
        '{"rows": [[1,2,3]], "model": "\\x"}',
        '{"\\x": 1}',
        "hello",
        '{"rows": hello}',
        '{"rows": [hello]}',
        '{"rows": [[1,2,3]], "model": hello}',
    ],
)
def test_texts_that_are_not_json_are_unreadable(body: str) -> None:
    with pytest.raises(UnreadableBodyError):
        read(body)


def test_utf16_is_unreadable() -> None:
    with pytest.raises(UnreadableBodyError):
        read('{"rows": [[1,2,3]]}'.encode("utf-16"))


@pytest.mark.parametrize("levels", [10, 1000, 100_000, 1_000_000])
@pytest.mark.parametrize(
    ("start", "opened"),
    [
        ('{"rows":', "["),
        ('{"rows":[', '{"a":'),
        ('{"model":', "["),
        ("", "["),
        ("", '{"rows":'),
        ('{"model":', '{"a":'),
    ],
)
def test_deep_nesting_is_refused_at_once(start: str, opened: str, levels: int) -> None:
    started = time.process_time()
    with pytest.raises(UnprocessableError):
        read(start + opened * levels)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"rows":[[' + b"1," * 10_000_000,
        b'{"rows":[["' + b"x" * 20_000_000,
        b'{"rows":[["' + b'\\"' * 10_000_000,
        b'{"' + b"x" * 20_000_000,
        b'{"model":"' + b"x" * 20_000_000,
        b'{"model":n' + b"x" * 20_000_000,
        b" " * 20_000_000,
    ],
)
def test_a_value_without_an_end_is_refused_quickly(body: bytes) -> None:
    started = time.process_time()
    with pytest.raises((UnprocessableError, UnreadableBodyError)):
        read(body)
    assert time.process_time() - started < 3


def test_a_row_of_a_million_values_is_refused_by_its_length() -> None:
    row = b"1," * 999_999 + b"1"
    with pytest.raises(InvalidRowsError, match="row 1: the row is longer"):
        read(b'{"rows":[[1,2,3],[' + row + b"]]}")


def test_more_rows_than_the_limit_are_refused_with_the_limit() -> None:
    with pytest.raises(TooManyRowsError, match="100 rows"):
        read(json.dumps({"rows": [[1, 2, 3]] * 101}))


def test_more_rows_than_the_limit_are_refused_while_the_options_are_sought() -> None:
    with pytest.raises(TooManyRowsError, match="2 rows"):
        read_json_options(io.BytesIO(b'{"rows": [[1],[1],[1]]}'), 2)


def test_rows_that_straddle_the_blocks_of_the_stream_are_whole() -> None:
    spec = RowSpec(SPEC.features, 500, 100_000)
    rows = np.random.default_rng(3).normal(size=(20_000, 3)).astype(np.float32)
    mixed = [dict(zip(spec.names, row, strict=True)) if row[0] > 0 else row for row in rows.tolist()]
    np.testing.assert_array_equal(read(json.dumps({"rows": mixed}), spec)[1], rows)


def test_no_damage_to_a_body_gives_anything_but_our_own_errors() -> None:
    body = b'{"model":"m","rows":[[1,2,3],{"age":1,"sex":"\\u00e9","bmi":null},[1e3,-2.5,NaN]],"method":null}'
    random = np.random.default_rng(11)
    for _ in range(3000):
        damaged = bytearray(body)
        for place in random.integers(0, len(body), size=2):
            damaged[place] = random.choice(list(b'[]{},:"\\nN1e-.\x00\xff '))
        with contextlib.suppress(UnreadableBodyError, UnprocessableError):
            read(bytes(damaged))
