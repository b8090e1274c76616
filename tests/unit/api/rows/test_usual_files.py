"""Files as spreadsheets, pandas and NumPy write them."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.api.rows.readers import read_rows_file
from shared.errors import ModelFaultError
from shared.models.contract import Feature, Kind
from tests.unit.api.rows.features import category, numbers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

A = numbers("a")
AB = (Feature("a", Kind.BOOLEAN), Feature("b"))
ABC = numbers("a", "b", "c")
NAN = np.nan


def saved(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


TWELVE = np.arange(12).reshape(4, 3)

READ: dict[str, tuple[tuple[Feature, ...], bytes, object]] = {
    "one-column-blank-last.csv": (A, b"a\n5\n \n", [[5], [NAN]]),
    "one-column-empty-last.csv": (A, b"a\n5\n\n", [[5], [NAN]]),
    "one-column-block-boundary.csv": (A, b"a\n" + b"1\n" * 32767 + b" \n", [[1]] * 32767 + [[NAN]]),
    "one-column-empty-at-boundary.csv": (A, b"a\n" + b"1\n" * 32767 + b"\n", [[1]] * 32767 + [[NAN]]),
    "booleans.csv": (AB, b"a,b\nTrue,1\nfalse,2\n", [[1, 1], [0, 2]]),
    "signed-nan.csv": (AB, b"a,b\n-nan,\n+nan,1\n", [[NAN, NAN], [NAN, 1]]),
    "records.json": (AB, b'{"rows": {"a": 1, "b": true}}', [[1, 1]]),
    "fortran.npy": (ABC, saved(np.asfortranarray(TWELVE.astype(np.float32))), TWELVE),
    "int64.npy": (ABC, saved(TWELVE), TWELVE),
    "float16.npy": (ABC, saved(TWELVE.astype(np.float16)), TWELVE),
    "bool.npy": (ABC, saved(np.eye(3, dtype=bool)), np.eye(3)),
}


@pytest.mark.parametrize("name", READ)
def test_a_usual_file_is_read(tmp_path: Path, name: str) -> None:
    features, body, wanted = READ[name]
    path = tmp_path / name
    path.write_bytes(body)
    np.testing.assert_array_equal(read_rows_file(path, features), wanted)


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("index-column.csv", b",a,b\n0,1,2\n1,3,4\n", r"index=False"),
        ("semicolons-quoted.csv", b'"a";"b"\n1,5;2\n', r"separated by semicolons.*sep="),
        ("index-in-rows.csv", b"a,b\n0,1,2\n", r"row 0: the row has 3 cells"),
        ("comma-at-the-end.csv", b"a,b\n1,2,\n", r"remove the comma at its end"),
        ("decimal-comma.csv", b'a,b\n1,"2,5"\n', r"decimal point"),
        ("split.json", b'{"dataframe_split": {"columns": ["a", "b"]}}', r"Unknown member 'dataframe_split'"),
    ],
)
def test_a_usual_mistake_is_named_with_its_remedy(tmp_path: Path, name: str, body: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(body)
    with pytest.raises(ModelFaultError, match=told):
        read_rows_file(path, AB)


NAMES = ("net\u00a0income", "tab\there", "line\nbreak", " padded ", 'quo"te,comma', "car\rriage", "\\u00a0")
HEADER = 'net\u00a0income,tab\there,"line\nbreak", padded ,"quo""te,comma","car\rriage",\\u00a0\n'


def test_names_are_taken_verbatim(tmp_path: Path) -> None:
    table, records = tmp_path / "rows.csv", tmp_path / "rows.json"
    table.write_bytes((HEADER + "1,2,3,4,5,6,7\n").encode())
    records.write_text(json.dumps([dict(zip(NAMES, range(1, 8), strict=True))]))
    for path in (table, records):
        assert read_rows_file(path, numbers(*NAMES)).tolist() == [[1, 2, 3, 4, 5, 6, 7]]


@pytest.mark.parametrize("header", [" padded ,b", "padded,b", "padded , b", "\u00a0padded,b\t"])
def test_a_name_that_lost_its_padding_is_found_if_it_is_the_only_one(tmp_path: Path, header: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"{header}\n1,2\n")
    assert read_rows_file(path, numbers(" padded ", "b")).tolist() == [[1, 2]]


def test_names_that_differ_in_padding_only_are_not_confused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x,x \n1,2\n")
    assert read_rows_file(path, numbers("x ", "x")).tolist() == [[2, 1]]
    path.write_text(" x,x\n1,2\n")
    with pytest.raises(ModelFaultError, match="doubled: 'x'"):
        read_rows_file(path, numbers("x ", "x"))


def test_categories_and_markers_are_read_from_files_of_every_kind(tmp_path: Path) -> None:
    features = (category("home", "rent", "own"), category("term", 10, 20), *numbers("c"))
    bodies = {
        "rows.csv": b"home,term,c\nown,20,-999\n,10,1\n",
        "rows.json": b'[{"home":"own","term":20,"c":-999.0},{"home":null,"term":10,"c":1}]',
        "rows.ndjson": b'{"home":"own","term":20,"c":-999}\n[NaN,10,1]\n',
        "rows.npy": saved(np.array([[1, 1, -999], [NAN, 0, 1]])),
    }
    for name, body in bodies.items():
        path = tmp_path / name
        path.write_bytes(body)
        np.testing.assert_array_equal(read_rows_file(path, features, (-999.0,)), [[1, 1, NAN], [NAN, 0, 1]])
    path.write_bytes(saved(np.array([[2, 0, 0]])))
    with pytest.raises(ModelFaultError, match=r"rows\.npy: .*row 0, column 'home': 2 is not a code"):
        read_rows_file(path, features)
