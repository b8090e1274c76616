from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from services.api.results.npy_format import measure_npy, write_npy
from services.api.results.result import Result
from shared.explanation import Explanation
from tests.unit.api.results.made_result import make_result


def make(rows: int, outputs: int) -> tuple[Result, Explanation]:
    numbers = np.random.default_rng(rows).normal(size=(rows, outputs, 6)).astype(np.float32)
    return make_result(numbers), Explanation(numbers)


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_one_output_gives_rows_by_features_with_the_base_value_last(rows: int) -> None:
    result, explanation = make(rows, 1)
    body = b"".join(write_npy(result))
    got = np.load(io.BytesIO(body))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, explanation.contributions[:, 0])
    assert measure_npy(result) == len(body)


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_several_outputs_stand_between_rows_and_features_as_xgboost_has_them(rows: int) -> None:
    result, explanation = make(rows, 3)
    body = b"".join(write_npy(result))
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), explanation.contributions)
    assert measure_npy(result) == len(body)


def test_the_length_of_a_result_larger_than_32_bits_is_right() -> None:
    result = replace(make_result(np.zeros((1, 1, 1001))), rows=10**9)
    assert measure_npy(result) == 128 + 4 * 10**12
