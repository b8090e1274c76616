from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ops.model_matrix import read_matrix
from shared.errors import ModelFaultError

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = ("a", "b", "c d")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "header lacks a, b, c d"),
        ("a,b,c d\n", "at least one row of 3 columns"),
        ("a,b\n1,2\n", "header lacks c d"),
        ("a,b,c d,e\n1,2,3,4\n", "header has the unknown e"),
        ("a,b,c d,a\n1,2,3,4\n", "header repeats a"),
        ("a,b,c d\n1,2,3\n1,2\n", "has 2 cells in row 1, not 3"),
        ("a,b,c d\n1,x,3\n", "row 0: could not convert string to float: 'x'"),
        ("a,b,c d\n1,inf,3\n", "beyond float32 in row 0, column 1"),
        ("a,b,c d\n1,2,1e39\n", "beyond float32 in row 0, column 2"),
        ('a,b,c d\n1,2,"3', "is no CSV in UTF-8"),
    ],
)
def test_a_wrong_csv_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)

    with pytest.raises(ModelFaultError) as refused:
        read_matrix(path, FEATURES)

    assert what in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_csv_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("a,b,c d\n1,2,ä\n".encode("latin-1"))

    with pytest.raises(ModelFaultError, match="is no CSV in UTF-8"):
        read_matrix(path, FEATURES)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 4)), np.zeros(3), np.zeros((0, 3)), np.array([["a", "b", "c"]]), np.array(1.0)]
)
def test_a_wrong_npy_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, array)

    with pytest.raises(ModelFaultError, match=r"rows\.npy"):
        read_matrix(path, FEATURES)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.array([[object()] * 3]), allow_pickle=True)

    with pytest.raises(ModelFaultError, match=r"no \.npy file of numbers"):
        read_matrix(path, FEATURES)


def test_other_formats_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFaultError, match=r"neither \.csv nor \.npy"):
        read_matrix(tmp_path / "rows.parquet", FEATURES)
    with pytest.raises(ModelFaultError, match="cannot be read: No such file"):
        read_matrix(tmp_path / "none.npy", FEATURES)
