"""Bodies that each format's reader accepts."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.api.rows.json_body import BodyOptions, read_json_options
from services.api.rows.readers import read_rows_file
from services.api.rows.row_spec import BLOCK_BYTES, RowSpec
from shared.models.contract import Feature
from tests.unit.api.rows.reading import SPEC, category, npy, numbers, read

NAN = np.nan
NINE: list[list[float]] = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
TWO: list[list[float]] = [[1, 2, 3], [4, 5, NAN]]
BODIES: list[tuple[str, bytes | str, list[list[float]]]] = [
    ("csv", "age,sex,bmi\n1,2,3\n4,5,6\n7,8,9\n", NINE),
    ("csv", "\ufeffbmi,age,sex\r\n3,1,2\r\n6,4,5\r\n9,7,8", NINE),
    ("csv", '"age","sex","bmi"\n"1","2","3"\n4,"5",6\n7,8,9\n', NINE),
    ("csv", "\n\nage,sex,bmi\n\n1,2,3\n\n\n4,5,6\n   \n7,8,9\n\n", NINE),
    ("csv", " age , sex,bmi\n 1, +2 ,3.\n4,5e0,.6e1\n7,8,9\n", NINE),
    ("csv", 'age,sex,bmi\n"1\n",2,3\n4,5,6\n7,"8","\r\n9"\n', NINE),
    ("csv", "age,sex,bmi\r1,2,3\r4,5,6\r7,8,9\r", NINE),
    ("csv", "age,sex,bmi\n3.4028235e38,1e-45,0\n", [[3.4028235e38, 1e-45, 0]]),
    ("ndjson", '[1,2,3]\r\n\n{"bmi": 6, "age": 4, "sex": 5e0}\n  [7, 8, 9]', NINE),
    ("json", '{"rows": [[1,2,3],[4,5,null]]}', TWO),
    ("json", '{"rows":[[1,2,3],{"bmi":null,"sex":5,"age":4}],"method":"interventional","model":"m@1"}', TWO),
    ("json", '\ufeff \n{ "model":\t"m@1", "rows" : [ [1,\n2,3] , [4,5,null] ] }\r\n ', TWO),
    ("json", '{"rows": {"age":1,"sex":true,"bmi":null}}', [[1, 1, NAN]]),
    ("json", '{"rows": [{"bmi":NaN,"sex":1.0,"age":true}], "model": "m"}', [[1, 1, NAN]]),
    ("json", '{"rows": [[1,true,NaN]]}', [[1, 1, NAN]]),
    ("json", '{"rows": [[true,1,null]]}', [[1, 1, NAN]]),
    *(("npy", npy(np.array(NINE, np.float32), version), NINE) for version in ((1, 0), (2, 0), (3, 0))),
    *(
        ("npy", npy(np.full((1, 3), value, dtype)), [[float(value)] * 3])
        for dtype, values in {
            "<i4": [2**24 + 2, -(2**31)],
            "<u4": [2**31],
            "<i8": [-(2**63)],
            "<u8": [2**63],
        }.items()
        for value in values
    ),
]
MISSING_WORDS = "nan NaN NAN -nan +NaN NA na Na N/A n/a null NULL None none <NA> #N/A"


def test_all_usual_ways_to_write_rows_are_read() -> None:
    for form, body, rows in BODIES:
        np.testing.assert_array_equal(read(form, body), np.array(rows, np.float32), err_msg=str(body))


def test_empty_cells_and_the_words_for_missing_become_nan() -> None:
    for word in (*MISSING_WORDS.split(), "", '""', " "):
        body = f"age,sex,bmi\n{word},2,3\n{word},{word},3\n1,2,{word}\n{word},{word},{word}\n"
        wanted = [[NAN, 2, 3], [NAN, NAN, 3], [1, 2, NAN], [NAN, NAN, NAN]]
        np.testing.assert_array_equal(read("csv", body), wanted, err_msg=word)


def test_a_blank_line_is_a_missing_value_where_the_model_has_one_feature() -> None:
    bodies: list[tuple[str, list[float]]] = [
        ('x\n1\n\n""\n2\n', [1, NAN, NAN, 2]),
        ("x\n5\n\n", [5, NAN]),
        ("x\n5", [5]),
        ("\n\nx\n\n", [NAN]),
        ("x\r\n\r\n   \r\n5\r\n", [NAN, NAN, 5]),
        ("x\r5\r\r6", [5, NAN, 6]),
        (f"x\n{'1\n' * 32_766}\n1\n", [*[1] * 32_766, NAN, 1]),
        (f"x\n{'1\n' * 32_767}\n", [*[1] * 32_767, NAN]),
        (f"x\n{'1\n' * 32_767} \n", [*[1] * 32_767, NAN]),
        (f"x\n{'\n' * 70_000}", [NAN] * 70_000),
    ]
    for body, wanted in bodies:
        rows = read("csv", body, RowSpec(numbers("x"), 1000, 100_000))
        np.testing.assert_array_equal(rows[:, 0], wanted, err_msg=body[:50])


def test_feature_names_may_hold_what_formats_use_themselves() -> None:
    assert read("ndjson", '{"a:b":1,"c":2}', RowSpec(numbers("a:b", "c"), 9, 9)).tolist() == [[1, 2]]
    assert read("ndjson", '{"x": 1}\n[2]\n', RowSpec(numbers("x"), 9, 9)).tolist() == [[1], [2]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n" * (2 * BLOCK_BYTES), "\n" * BLOCK_BYTES + '[1,"x"]\n'])
def test_blank_lines_after_a_block_that_ends_with_a_line_are_skipped(end: str) -> None:
    labelled = RowSpec((*numbers("a"), category("b", "x")), chunk_rows=500, max_rows=10_000)
    block = '[1,"x"]\n' * (BLOCK_BYTES // 8)
    assert len(block) == BLOCK_BYTES
    assert read("ndjson", block + end, labelled).tolist() == [[1, 0]] * (block + end).count("[")


def test_all_kinds_of_numbers_are_read_in_both_orders() -> None:
    kinds = "? |i1 |u1 <i2 >i2 <u2 <i4 >i4 <u4 <i8 >i8 <u8 >u8 <f2 >f2 <f4 >f4 <f8 >f8"
    for dtype in kinds.split():
        rows = np.arange(15).reshape(5, 3).astype(dtype)
        for body in (npy(rows), npy(np.asfortranarray(rows))):
            np.testing.assert_array_equal(read("npy", body), rows.astype(np.float32), err_msg=dtype)
    assert b"'fortran_order': True" in body


def test_a_marker_is_missing_even_where_float32_would_change_it() -> None:
    spec = RowSpec(SPEC.features, 2, 9, missing=(-(2.0**24) - 1,))
    np.testing.assert_array_equal(read("npy", npy([[1, -(2**24) - 1, 3]]), spec), [[1, NAN, 3]])


def test_options_may_stand_anywhere_in_a_json_body() -> None:
    for members, options in {
        '"model": "\\u006d@1", "method" : "interventional"': BodyOptions("m@1", "interventional"),
        '"interactions": true, "top_pairs":7 ': BodyOptions(interactions=True, top_pairs=7),
        '"interactions":false': BodyOptions(interactions=False),
        '"interactions":null,"top_pairs":null,"model": null': BodyOptions(),
    }.items():
        for body in (f'{{"rows": [[1,2,3]], {members}}}', f'{{{members},"rows": {{"age":1}}}}'):
            assert read_json_options(io.BytesIO(body.encode()), 1) == options


# --- Files that the models command accepts, as spreadsheets, pandas and NumPy write them ---

ABC = numbers("a", "b", "c d")
ROWS = [[1, 2, NAN], [4, 5, 6]]
#: Names that are hard to write; they are taken verbatim.
NAMES = ("net\u00a0income", "tab\there", "line\nbreak", " padded ", 'quo"te,comma', "car\rriage", "\\u00a0")
HEADER = 'net\u00a0income,tab\there,"line\nbreak", padded ,"quo""te,comma","car\rriage",\\u00a0\n'
NAMED = json.dumps([dict(zip(NAMES, range(1, 8), strict=True))]).encode()
LABELLED = (category("home", "rent", "own"), category("term", 10, 20), *numbers("c"))
FILES: list[tuple[str, bytes, tuple[Feature, ...], Any]] = [
    ("ROWS.CSV", b"\xef\xbb\xbfa,b,c d\r\n1,2,NA\r\n4,5,6\r\n", ABC, ROWS),
    ("rows.npy", npy(ROWS), ABC, ROWS),
    ("rows.json", b'[{"a":1,"b":2,"c d":null},{"a":4,"b":5,"c d":6}]', ABC, ROWS),
    ("rows.json", b"\n[[1,2,null],\n[4,5,6]]\n", ABC, ROWS),
    ("rows.json", b'{"rows": [[1,2,null],{"c d":6,"a":4,"b":5}]}', ABC, ROWS),
    ("rows.ndjson", b'{"a":1,"b":2,"c d":null}\n[4,5,6]\n', ABC, ROWS),
    ("names.csv", (HEADER + "1,2,3,4,5,6,7\n").encode(), numbers(*NAMES), [range(1, 8)]),
    ("names.json", NAMED, numbers(*NAMES), [range(1, 8)]),
    # A name that lost its padding is found if it is the only one.
    *(
        ("padded.csv", f"{header}\n1,2\n".encode(), numbers(" padded ", "b"), [[1, 2]])
        for header in (" padded ,b", "padded,b", "padded , b", "\u00a0padded,b\t")
    ),
    ("alike.csv", b"x,x \n1,2\n", numbers("x ", "x"), [[2, 1]]),
    ("labels.csv", b"home,term,c\nown,20,-999\n,10,1\n", LABELLED, [[1, 1, NAN], [NAN, 0, 1]]),
]


def test_a_file_of_each_kind_is_read(tmp_path: Path) -> None:
    for name, content, features, wanted in FILES:
        path = tmp_path / name
        path.write_bytes(content)
        rows = read_rows_file(path, features, (-999.0,))
        assert rows.dtype == np.float32
        assert rows.flags.c_contiguous
        np.testing.assert_array_equal(rows, wanted, err_msg=str((name, content)))
