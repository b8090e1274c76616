"""Files of rows that the models command accepts, as spreadsheets, pandas and NumPy write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.api.rows.readers import read_rows_file
from shared.errors import ModelFaultError
from shared.models.contract import Feature, Kind
from tests.unit.api.rows.reading import category, npy, numbers

ABC = numbers("a", "b", "c d")
AB = (Feature("a", Kind.BOOLEAN), Feature("b"))
NAN = np.nan
ROWS = [[1, 2, NAN], [4, 5, 6]]
#: Names that are hard to write; they are taken verbatim.
NAMES = ("net\u00a0income", "tab\there", "line\nbreak", " padded ", 'quo"te,comma', "car\rriage", "\\u00a0")
HEADER = 'net\u00a0income,tab\there,"line\nbreak", padded ,"quo""te,comma","car\rriage",\\u00a0\n'
NAMED = json.dumps([dict(zip(NAMES, range(1, 8), strict=True))]).encode()
LABELLED = (category("home", "rent", "own"), category("term", 10, 20), *numbers("c"))
CODES = [[1, 1, NAN], [NAN, 0, 1]]
READ: list[tuple[str, bytes, tuple[Feature, ...], Any]] = [
    ("rows.csv", b"c d,a,b\n,1,2\n6,4,5\n", ABC, ROWS),
    ("ROWS.CSV", b"\xef\xbb\xbfa,b,c d\r\n1,2,NA\r\n4,5,6\r\n", ABC, ROWS),
    ("rows.npy", npy(ROWS), ABC, ROWS),
    ("rows.json", b'[{"a":1,"b":2,"c d":null},{"a":4,"b":5,"c d":6}]', ABC, ROWS),
    ("rows.json", b"\n[[1,2,null],\n[4,5,6]]\n", ABC, ROWS),
    ("rows.json", b'{"rows": [[1,2,null],{"c d":6,"a":4,"b":5}]}', ABC, ROWS),
    ("rows.ndjson", b'{"a":1,"b":2,"c d":null}\n[4,5,6]\n', ABC, ROWS),
    ("booleans.csv", b"a,b\nTrue,1\nfalse,2\n-nan,+nan\n", AB, [[1, 1], [0, 2], [NAN, NAN]]),
    ("record.json", b'{"rows": {"a": 1, "b": true}}', AB, [[1, 1]]),
    ("names.csv", (HEADER + "1,2,3,4,5,6,7\n").encode(), numbers(*NAMES), [range(1, 8)]),
    ("names.json", NAMED, numbers(*NAMES), [range(1, 8)]),
    # A name that lost its padding is found if it is the only one.
    *(
        ("padded.csv", f"{header}\n1,2\n".encode(), numbers(" padded ", "b"), [[1, 2]])
        for header in (" padded ,b", "padded,b", "padded , b", "\u00a0padded,b\t")
    ),
    ("alike.csv", b"x,x \n1,2\n", numbers("x ", "x"), [[2, 1]]),
    ("labels.csv", b"home,term,c\nown,20,-999\n,10,1\n", LABELLED, CODES),
    ("labels.ndjson", b'{"home":"own","term":20,"c":-999}\n[NaN,10,1]\n', LABELLED, CODES),
    ("codes.npy", npy([[1, 1, -999], [NAN, 0, 1]]), LABELLED, CODES),
]
REFUSED: list[tuple[str, bytes, tuple[Feature, ...], str]] = [
    ("rows.csv", b"a,b,c d\n1,x,3\n", ABC, "row 0, column 'b': 'x'"),
    ("rows.csv", b"a,b,c d\n1,2,\xe4\n", ABC, "not UTF-8"),
    ("rows.npy", npy(np.array([[object()] * 3]), pickled=True), ABC, "objects"),
    ("rows.json", b"[[1,2,3]] []", ABC, "follows"),
    ("rows.json", b'{"rows": [[1,2,3]], "model": "m"}', ABC, '"model"'),
    ("rows.json", b"[[1,2,3]", ABC, "cut off"),
    ("rows.parquet", b"PAR1", ABC, r"\.csv, \.npy, \.json, \.ndjson"),
    ("index-in-rows.csv", b"a,b\n0,1,2\n", AB, r"row 0: the row has 3 cells"),
    ("comma-at-the-end.csv", b"a,b\n1,2,\n", AB, r"remove the comma at its end"),
    ("decimal-comma.csv", b'a,b\n1,"2,5"\n', AB, r"decimal point"),
    ("split.json", b'{"dataframe_split": {"columns": ["a"]}}', AB, r"Unknown member 'dataframe_split'"),
    ("alike.csv", b" x,x\n1,2\n", numbers("x ", "x"), "doubled: 'x'"),
    ("codes.npy", npy([[2, 0, 0]]), LABELLED, r"codes\.npy: .*row 0, column 'home': 2 is not a code"),
]


def test_a_file_of_each_kind_is_read(tmp_path: Path) -> None:
    for name, content, features, wanted in READ:
        path = tmp_path / name
        path.write_bytes(content)
        rows = read_rows_file(path, features, (-999.0,))
        assert rows.dtype == np.float32
        assert rows.flags.c_contiguous
        np.testing.assert_array_equal(rows, wanted, err_msg=str((name, content)))


def test_a_file_that_cannot_be_read_is_named_with_what_is_wrong_and_the_remedy(tmp_path: Path) -> None:
    for name, content, features, told in REFUSED:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ModelFaultError, match=told) as refused:
            read_rows_file(path, features)
        assert str(path) in str(refused.value)
    with pytest.raises(ModelFaultError, match=r"none\.npy.* cannot be read: No such file"):
        read_rows_file(tmp_path / "none.npy", ABC)
