from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.api.rows.readers import read_rows_file
from shared.errors import ModelFaultError
from tests.unit.api.rows.features import numbers

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = numbers("a", "b", "c d")
NPY = io.BytesIO()
np.save(NPY, np.array([[1, 2, np.nan], [4, 5, 6]]))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", b"c d,a,b\n,1,2\n6,4,5\n"),
        ("ROWS.CSV", b"\xef\xbb\xbfa,b,c d\r\n1,2,NA\r\n4,5,6\r\n"),
        ("rows.npy", NPY.getvalue()),
        ("rows.json", b'[{"a":1,"b":2,"c d":null},{"a":4,"b":5,"c d":6}]'),
        ("rows.json", b"\n[[1,2,null],\n[4,5,6]]\n"),
        ("rows.json", b'{"rows": [[1,2,null],{"c d":6,"a":4,"b":5}]}'),
        ("rows.ndjson", b'{"a":1,"b":2,"c d":null}\n[4,5,6]\n'),
    ],
)
def test_a_file_of_each_kind_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    rows = read_rows_file(path, FEATURES)

    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    np.testing.assert_array_equal(rows, [[1, 2, np.nan], [4, 5, 6]])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("rows.csv", b"", "empty"),
        ("rows.csv", b"a,b,c d\n", "no rows"),
        ("rows.csv", b"a,b\n1,2\n", "missing: 'c d'"),
        ("rows.csv", b"a,b,c d\n1,2,3\n1,2\n", "row 1: the row has 2 cells"),
        ("rows.csv", b"a,b,c d\n1,x,3\n", "row 0, column 'b': 'x'"),
        ("rows.csv", b"a,b,c d\n1,2,\xe4\n", "not UTF-8"),
        ("rows.npy", b"PK\x03\x04", "NPY"),
        ("rows.json", b'[{"a":1,"b":2,"c d":"x"}]', "row 0, column 'c d'"),
        ("rows.json", b"[[1,2,3]] []", "follows"),
        ("rows.json", b'{"rows": [[1,2,3]], "model": "m"}', '"model"'),
        ("rows.json", b"[[1,2,3]", "cut off"),
        ("rows.ndjson", b"[1,2]\n", "2 values"),
        ("rows.parquet", b"PAR1", r"\.csv, \.npy, \.json, \.ndjson"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_is_wrong(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(ModelFaultError, match=told) as refused:
        read_rows_file(path, FEATURES)

    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFaultError, match="cannot be read: No such file"):
        read_rows_file(tmp_path / "none.npy", FEATURES)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.array([[object()] * 3]), allow_pickle=True)

    with pytest.raises(ModelFaultError, match="objects"):
        read_rows_file(path, FEATURES)
