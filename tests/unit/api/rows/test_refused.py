"""Bodies that each format's reader refuses, the place of the fault, and the message."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.api.rows.json_body import read_json_options
from services.api.rows.readers import read_rows_file
from services.api.rows.row_spec import BLOCK_BYTES, RowSpec
from shared.errors import (
    InvalidRowsError,
    ModelFaultError,
    TooManyRowsError,
    UnprocessableError,
    UnreadableBodyError,
)
from tests.unit.api.rows.reading import (
    SPEC,
    category,
    invalid,
    npy,
    npy_header,
    numbers,
    read,
    refusal,
    shape_header,
)

HEADER = "age,sex,bmi\n"
ROWS = np.array([[1, 2, 3], [4, np.nan, 6], [7, 8, 9]], dtype=np.float32)
BOTH = "json ndjson"
FRAMES = {"json": '{"rows": [[1,2,3], [4,5,6], %s]}', "ndjson": "[1,2,3]\n[4,5,6]\n%s\n"}

#: The third row; the column and words of its fault.
JSON_ROWS: list[tuple[str, str, str | None, str]] = [
    (BOTH, "[1,2]", None, "2 values"),
    (BOTH, "[1,2,3,4]", None, "4 values"),
    (BOTH, "[]", None, "0 values"),
    *(("json", row, None, "its own brackets") for row in ("7", '"age"', "null")),
    ("ndjson", "5", None, "this is 5"),
    ("ndjson", "null", None, "null"),
    (BOTH, '{"age":1,"sex":2}', "bmi", "lacks"),
    (BOTH, '{"age":1,"sex":2,"bmi":3,"height":4}', "height", "no such feature"),
    (BOTH, '{"age":1,"sex":2,"bmi":3,"bmi":3}', "bmi", "more than once"),
    ("ndjson", '{"age":1,"sex":2,"bmi":3,"\\u0062mi":4}', "bmi", "more than once"),
    ("json", '{"age":1,"sex":2,"bmi":3,"}":4}', "}", "no such feature"),
    *(("json", f"[1,{text},3]", "sex", "not a number") for text in ('"]"', '"\\"]"', '"[{"')),
    (BOTH, '[1,"5",3]', "sex", "without quotes"),
    (BOTH, '[1,"NA",3]', "sex", "send null"),
    ("ndjson", '{"age":1,"sex":"2","bmi":3}', "sex", "'2'"),
    (BOTH, "[1,Infinity,3]", "sex", "infinity"),
    (BOTH, "[1e999,2,3]", "age", "infinity"),
    ("ndjson", f"[1,2,{'9' * 5000}]", "bmi", "infinity"),
    (BOTH, "[1,-1e39,3]", "sex", "float32's range"),
    *(("json", row, None, "flat") for row in ("[1,[2],3]", "[[1,2,3]]", '{"age":{"x":1},"sex":2,"bmi":3}')),
    ("ndjson", "[1,[2],3]", "sex", "an array is not a number"),
    ("ndjson", '[1,{"a":2},3]', "sex", "an object"),
]
#: A body; the row and column and words of its fault.
BODIES: list[tuple[str, str | bytes, int | None, str | None, str]] = [
    *(
        (form, FRAMES[form] % row, 2, column, words)
        for forms, row, column, words in JSON_ROWS
        for form in forms.split()
    ),
    ("json", '{"rows": {}}', 0, "age", "lacks this feature"),
    ("json", '{"rows": {"age":1}}', 0, "sex", "lacks this feature"),
    ("json", '{"rows": {"age":[1,2],"sex":[1,2],"bmi":[1,2]}}', 0, None, "orient='records'"),
    ("json", '{"rows": {"0":{"age":1,"sex":1,"bmi":1}}}', 0, None, "orient='records'"),
    ("csv", f"{HEADER}1,2,3\n\n1,2\n", 1, None, "the row has 2 cells"),
    ("csv", "bmi,age,sex\n1,2,3\n4,tall,6\n", 1, "age", "'tall'"),
    ("csv", f"{HEADER}1,?,3\n", 0, "sex", "leave the cell empty"),
    ("csv", f"{HEADER}1,-1e39,3\n", 0, "sex", "float32's range"),
    ("csv", HEADER.encode() + b"1,2,3\n" + b"1," * 1_000_000, 1, None, ""),
    *(("csv", f"{HEADER}1,2,{cell}\n", 0, "bmi", "infinity") for cell in ("inf", "-Infinity", "1e999")),
    *(
        ("csv", f"{HEADER}{cell},2,3\n", 0, "age", "")
        for cell in ("1_000", '"1,5"', "0x10", "1 2", "\u0661", "--1", "yes", "nah", "nanna", "5'", '5"')
    ),
    ("ndjson", b"[1,2,3]\n[" + b"1," * 1_000_000, 1, None, ""),
    ("json", b'{"rows":[[1,2,3],[' + b"1," * 999_999 + b"1]]}", 1, None, "the row is longer"),
]


@pytest.mark.parametrize("form", ["csv", "json", "ndjson"])
def test_a_faulty_row_is_refused_with_its_number_the_feature_and_the_remedy(form: str) -> None:
    for _, body, row, column, words in (case for case in BODIES if case[0] == form):
        error = invalid(form, body).errors[0]
        assert (error.row, error.column) == (row, column), body[:200]
        assert words in error.detail
        assert len(error.detail) < 400


def test_a_header_with_other_columns_is_refused_and_they_are_named() -> None:
    for header, named in {
        "age,sex,bmi,height": "unknown: 'height'",
        "age,sex": "missing: 'bmi'",
        "age,sex,bmi,sex": "doubled: 'sex'",
        "age;sex;bmi": "semicolons, not by commas: write the file with commas and decimal points, in pandas",
        '"age";"sex";"bmi"': 'sep=","',
        '"age;years"\t"sex"\t"bmi"': "tabs",
        '"age"|"sex"|"bmi"': "vertical bars",
        "0,1,2": "name the model's features instead, 'age', 'sex', 'bmi'. If this line is a row",
        ",age,sex,bmi": "to_csv(..., index=False)",
        "Unnamed: 0,age,sex,bmi": "to_csv(..., index=False)",
        "age,sex,bmi,": "remove the comma at the end of each line",
        "1.5,2,3": "put a header before it, with the model's features, 'age', 'sex', 'bmi'",
    }.items():
        fault = invalid("csv", f"{header}\n1,2,3\n")
        assert named in str(fault)
        assert all(error.row is None and error.column is not None for error in fault.errors)


def test_a_body_without_rows_is_refused() -> None:
    bodies: dict[str, list[str] | list[bytes]] = {
        "csv": [HEADER.strip() + end for end in ("", "\n", "\r\n\r\n")],
        "json": ['{"rows": []}', '{"rows":  [ ] }'],
        "ndjson": ["\n" * lines for lines in (1, 2, 2 * BLOCK_BYTES)],
        "npy": [npy(ROWS[:0])],
    }
    for form, some in bodies.items():
        for body in some:
            assert "no rows" in str(invalid(form, body))
    labels = RowSpec((*numbers("a"), category("b", "x")), 500, 10_000)
    assert "no rows" in str(invalid("ndjson", "\n" * 2 * BLOCK_BYTES, labels))


#: JSON after `{"rows": [[1,2,3]`.
BROKEN = """,]} |  [1,2,3]]} |  [1,2,3],[1,2,3],[1,2,3]]} | ,,[1,2,3],[1,2,3],[1,2,3]]} | } | ]],} | ]},} | ]} {} | ]}x
    | ], "model": nil} | ], "model": "\\x"} | ], "model": hello} | ], "interactions": tru}
    | ], "interactions": falsey} | ], "top_pairs": 0x7}"""
UNREADABLE: dict[str, list[tuple[str | bytes, str]]] = {
    "csv": [
        *((body, "is empty") for body in (b"", b"\n\n", b"\xef\xbb\xbf", b"  \r\n")),
        (b"age,sex,bmi\n1,2,\x00\n", "NUL"),
        ("age,sex,bmi\n1,2,3\n".encode("utf-16"), "NUL"),
        (b"age,sex,bmi\n1,2,\xe9\n", "Byte 16 .* not UTF-8"),
        (b'age,sex,bmi\n1,2,"3\n4,5,6\n', "close every quote"),
        (b'age,sex,bmi\n1,2,"3"4\n', "in row 0 .*close every quote"),
        (b'age,sex,bmi\n"1",2,3\n4,5,6\n1,2,"3"4\n', "in row 2 .*close every quote"),
    ],
    "json": [
        *((body, "is empty") for body in ("", " \n", "\ufeff")),
        *((body, "") for body in ('{"rows" [[1,2,3]]}', "{rows: [[1,2,3]]}", '{"\\x": 1}', "hello")),
        *(
            (f'{{"rows": {rest}', "")
            for rest in ("[,[1,2,3]]}", "[[1,,3]]}", '[{"age":1]]}', "hello}", "[hello]}")
        ),
        *(('{"rows": [[1,2,3]' + rest, "") for rest in BROKEN.split(" | ")),
        ('{"rows": [[1,2,3]]}'.encode("utf-16"), ""),
    ],
    "ndjson": [
        *((body, "is empty") for body in (b"", b"\xef\xbb\xbf")),
        *(
            (f"[1,2,3]\n{tail}", r"cut off.*Row 1 ")
            for tail in ("[1,2", '{"age":1,"se', "[1,2,3", "[1,2,3][")
        ),
        *(
            (f"[1,2,3]\n{line}\n[1,2,3]\n", "^Row 1 is not valid JSON")
            for line in ("[1,2,,3]", "{age:1}", "[1,2,3]]", "\x00", "[1,2,3] [4,5,6]", "hello")
        ),
        (b'{"\xe9":1}\n', ""),
    ],
    "npy": [
        (npy(ROWS) + b"\x00", "more bytes"),
        (npy(ROWS).replace(b"(3, 3)", b"(9, 3)"), "announces 9 rows, and there are 3"),
        *((body, "") for body in (b"\x93NUMPX\x01\x00", b"PK\x03\x04 npz", b"\x93NUMPY\x09\x00\x10\x00")),
        (b"\x93NUMPY\x03\x00\x01\x00\x00\x00\xff", ""),
        (npy_header("{}", length=4_000_000_000), ""),
        (npy_header("{'descr': '<f4', 'fortran_order': False}"), ""),
        *((shape_header(shape), "") for shape in ("(-1, 3)", "(True, 3)", "3", "(1, 3), 'more': 1")),
        *(
            (npy_header(text), "")
            for text in ("[]", "(" * 5000, "-" * 9000 + "1", "9" * 9000, "\0", "{[]: 1}")
        ),
        (npy_header("__import__('os').abort()"), ""),
        *(
            (shape_header("(1, 3)", descr), "")
            for descr in ("()", "('f4',)", "('<f4', 10**30)", "{'names': []}")
        ),
    ],
}


@pytest.mark.parametrize("form", UNREADABLE)
def test_bytes_that_are_not_of_the_format_are_unreadable_with_the_reason(form: str) -> None:
    for body, told in UNREADABLE[form]:
        assert re.search(told, str(refusal(UnreadableBodyError, form, body, SPEC)))


def test_a_json_body_of_another_shape_is_refused_and_the_right_one_is_described() -> None:
    wrong = {
        **dict.fromkeys(("[[1,2,3]]", '"text"', "5", "null"), "must be a JSON object"),
        **dict.fromkeys(("{}", '{"model": "m"}'), '"rows" is missing'),
        **dict.fromkeys(('{"rows": 5}', '{"rows": null}'), "must be an array"),
        '{"rows": [[1,2,3]], "rows": [[1,2,3]]}': "more than once",
        '{"model": "a", "rows": [[1,2,3]], "model": "b"}': "more than once",
        '{"rows": [[1,2,3]], "data": []}': "Unknown member 'data'",
    }
    options = {
        "model": ("5", "true"),
        "method": ('["x"]',),
        "interactions": ('"true"', "1", "[true]"),
        "top_pairs": ('"7"', "7.5", "true", "1e2"),
    }
    for name, values in options.items():
        wrong |= {f'{{"rows": [[1,2,3]], "{name}": {value}}}': "must be" for value in values}
    for body, told in wrong.items():
        assert told in str(refusal(UnprocessableError, "json", body, SPEC))


def test_a_feature_under_another_name_is_shown_beside_the_missing_one() -> None:
    errors = invalid("json", '{"rows": [{"age":1,"bmi":2,"sexx":3}]}').errors
    assert [error.column for error in errors] == ["sexx", "sex"]
    assert "has 'sexx' instead" in errors[1].detail
    assert "null" not in errors[1].detail


def test_names_with_colons_and_half_surrogates_are_told() -> None:
    spec = RowSpec(numbers("a:b", "c"), 9, 9)
    assert invalid("ndjson", '{"a\\u003ab":1,"c":2,"c":3}', spec).errors[0].column == "c"
    column = invalid("ndjson", '{"\\ud800":NaN,"age":1,"sex":2,"bmi":3}').errors[0].column
    assert column is not None
    column.encode()


def test_faults_are_gathered_over_the_chunk_and_shortened_and_no_more_than_twenty_are_listed() -> None:
    spec = RowSpec(SPEC.features, 1000, 1000)
    assert len(invalid("csv", "age,sex,bmi\na,2,3\n1,b\n1,2,inf\n", spec).errors) == 3
    assert len(invalid("csv", "age,sex,bmi\n" + "a,b,c\n" * 50, spec).errors) == 20
    assert len(invalid("csv", "age,sex,bmi\n" + "x" * 5000 + ",2,3\n").errors[0].detail) < 150


def test_more_rows_than_the_limit_are_refused_with_the_limit_also_while_the_options_are_sought() -> None:
    bodies: dict[str, str | bytes] = {
        "csv": HEADER + "1,2,3\n" * 101,
        "json": '{"rows": [' + "[1,2,3]," * 100 + "[1,2,3]]}",
        "ndjson": "[1,2,3]\n" * 101,
        "npy": shape_header("(10000000000000, 3)"),
    }
    for form, body in bodies.items():
        with pytest.raises(TooManyRowsError, match="100 rows"):
            read(form, body)
    with pytest.raises(TooManyRowsError, match="2 rows"):
        read_json_options(io.BytesIO(b'{"rows": [[1],[1],[1]]}'), 2)


def test_another_array_than_can_be_explained_is_refused_with_the_remedy() -> None:
    arrays: list[tuple[Any, str]] = [
        (ROWS.astype(np.complex64), "floats"),
        (ROWS.astype(np.longdouble), "at most 64 bits"),
        (ROWS.astype("U8"), "codes for categories"),
        (np.zeros((1, 3), "M8[s]"), "floats"),
        (np.zeros(3, dtype=[("age", "<f4")]), "structured"),
        (ROWS[0], "1 dimensions"),
        (ROWS[None], "3 dimensions"),
        (np.float32(1), "0 dimensions"),
        (ROWS[:, :2].copy(), "2 columns, the model has 3"),
    ]
    for array, told in arrays:
        assert told in str(invalid("npy", npy(array)))


def test_a_number_that_float32_would_change_is_refused_with_its_place() -> None:
    numbers_of: dict[str, list[float]] = {
        "<i4": [2**24 + 1],
        ">i4": [-(2**24) - 1],
        "<u4": [2**32 - 1],
        "<i8": [2**53 + 1, 2**63 - 1],
        "<u8": [2**64 - 1, 2**63 + 1],
        "<f8": [np.inf, -np.inf, 1e39],
    }
    told = {np.inf: "infinity", -np.inf: "infinity", 1e39: "float32's range"}
    for dtype, values in numbers_of.items():
        for value in values:
            for order in (np.ascontiguousarray, np.asfortranarray):
                array = order(np.ones((5, 3), dtype=dtype))
                array[3, 1] = value
                (error,) = invalid("npy", npy(array)).errors
                assert (error.row, error.column) == (3, "sex")
                assert told.get(value, str(value)) in error.detail


class Trap:
    """Unpickling this would show."""

    sprung = False

    def __reduce__(self) -> Any:
        return setattr, (Trap, "sprung", True)


def test_an_array_of_objects_is_never_unpickled() -> None:
    array = np.empty((1, 3), dtype=object)
    array[0, 0] = Trap()
    assert "never unpickled" in str(invalid("npy", npy(array, pickled=True)))
    assert not Trap.sprung


FILES = [
    ("rows.csv", b"a,b\n1,x\n", "row 0, column 'b': 'x'"),
    ("rows.csv", b"a,b\n1,\xe4\n", "not UTF-8"),
    ("rows.npy", npy(np.array([[object()] * 2]), pickled=True), "objects"),
    ("rows.npy", npy([[2.5, 0]]), r"rows\.npy: .*row 0, column 'a': 2.5 is not a code"),
    ("rows.json", b"[[1,2]] []", "follows"),
    ("rows.json", b'{"rows": [[1,2]], "model": "m"}', '"model"'),
    ("rows.json", b"[[1,2]", "cut off"),
    ("rows.parquet", b"PAR1", r"\.csv, \.npy, \.json, \.ndjson"),
    ("index-in-rows.csv", b"a,b\n0,1,2\n", "row 0: the row has 3 cells"),
    ("comma-at-the-end.csv", b"a,b\n1,2,\n", "remove the comma at its end"),
    ("decimal-comma.csv", b'a,b\n1,"2,5"\n', "decimal point"),
    ("split.json", b'{"dataframe_split": {"columns": ["a"]}}', "Unknown member 'dataframe_split'"),
    ("alike.csv", b" b,b,a\n1,2,3\n", "doubled: 'b'"),
]


def test_a_file_that_cannot_be_read_is_named_with_what_is_wrong_and_the_remedy(tmp_path: Path) -> None:
    for name, content, told in FILES:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ModelFaultError, match=told) as refused:
            read_rows_file(path, (category("a"), *numbers("b")))
        assert str(path) in str(refused.value)
    with pytest.raises(ModelFaultError, match=r"none\.npy.* cannot be read: No such file"):
        read_rows_file(tmp_path / "none.npy", numbers("a"))


def test_every_body_cut_off_is_unreadable_and_json_gives_the_place() -> None:
    body = npy(ROWS)
    for end in range(len(body)):
        with pytest.raises(UnreadableBodyError, match=r"cut off|is empty|not an NPY file"):
            read("npy", body[:end])
    body = b'{"model": "m", "rows": [[1,2,3],{"age":1,"sex":2,"bmi":null}], "method": null}'
    for end in range(1, len(body)):
        with pytest.raises(UnreadableBodyError, match=f"cut off after {end} bytes"):
            read("json", body[:end])


def test_no_damage_gives_anything_but_our_own_errors() -> None:
    chance = np.random.default_rng(11)
    body = b'{"model":"m","rows":[[1,2,3],{"age":1,"sex":"\\u00e9","bmi":null},[1e3,-2.5,NaN]],"method":null}'
    for _ in range(1500):
        damaged = bytearray(body)
        for place in chance.integers(0, len(body), size=2):
            damaged[place] = chance.choice(list(b'[]{},:"\\nN1e-.\x00\xff '))
        with contextlib.suppress(UnreadableBodyError, UnprocessableError):
            read("json", bytes(damaged))
        damaged = bytearray(npy(ROWS))
        damaged[chance.integers(0, 80)] = chance.integers(0, 256)
        with contextlib.suppress(UnreadableBodyError, InvalidRowsError, TooManyRowsError):
            read("npy", bytes(damaged))
