from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from services.api.results.npy_result import measure_npy, write_npy


def make(rows: int, outputs: int) -> Any:
    numbers = np.random.default_rng(rows).normal(size=(rows, outputs, 6)).astype(np.float32)
    return SimpleNamespace(
        numbers=numbers,
        rows=rows,
        feature_names=["a", "b", "c", "d"],
        output_names=["x", "y", "z"][:outputs],
        blocks=lambda: (numbers[start : start + 3] for start in range(0, rows, 3)),
    )


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_one_output_gives_rows_by_features_with_the_base_value_last(rows: int) -> None:
    result = make(rows, 1)
    body = b"".join(write_npy(result))
    got = np.load(io.BytesIO(body))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, result.numbers[:, 0, :5])
    assert measure_npy(result) == len(body)


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_several_outputs_stand_between_rows_and_features_as_xgboost_has_them(rows: int) -> None:
    result = make(rows, 3)
    body = b"".join(write_npy(result))
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), result.numbers[:, :, :5])
    assert measure_npy(result) == len(body)


def test_the_length_of_a_result_larger_than_32_bits_is_right() -> None:
    result = SimpleNamespace(rows=10**9, feature_names=["a"] * 999, output_names=["x"])
    assert measure_npy(result) == 128 + 4 * 10**12
