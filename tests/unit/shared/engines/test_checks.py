from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.engines.checks import (
    ADVICE,
    CERTAIN,
    TOLERANCE,
    SumsDifferError,
    check_interactions,
    check_sums,
)
from shared.errors import EngineFaultError
from shared.explanation import Explanation, join_parts

type Matrix = NDArray[np.float32]


def result_of(values: NDArray[np.float64], base: float = 0.5) -> Explanation:
    """Return an explanation of values (rows, outputs, features), with exact margins."""
    bases = np.full(values.shape[:2], base)
    return Explanation(join_parts(values, bases, values.sum(axis=2) + bases).astype(np.float32))


def contributions(rows: int = 700, outputs: int = 3, features: int = 30, scale: float = 1.0) -> Explanation:
    return result_of(np.random.default_rng(7).normal(scale=scale, size=(rows, outputs, features)))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0, 1e6, 1e30])
def test_exact_values_are_accepted_however_large_and_the_largest_residual_is_told(scale: float) -> None:
    result = contributions(scale=scale)
    assert check_sums(result) <= CERTAIN
    result.margins[123, 1] *= np.float32(1 + 4e-5)
    margin, values = float(result.margins[123, 1]), result.contributions[123, 1].astype(np.float64)
    wanted = abs(values.sum() - margin) / max(1.0, abs(margin), np.abs(values[:-1]).max())
    assert check_sums(result) == pytest.approx(wanted, rel=1e-3, abs=CERTAIN)


def test_values_that_cancel_are_accepted_for_what_float32_can_do() -> None:
    values = np.zeros((5, 1, 4))
    values[:, 0] = [1e6, -1e6, 3.0, -3.0]
    result = result_of(values, base=0.0)
    result.margins[2, 0] += 1.0  # of a million: a step of float32 there is 0.0625
    assert check_sums(result) == pytest.approx(1e-6, rel=1e-3)
    matrices = np.zeros((1, 1, 3, 3), np.float32)
    matrices[0, 0, :2, :2] = [[1e6, -1e6], [-1e6, 1e6 + 1]]
    result = Explanation(np.zeros((1, 1, 4), np.float32))  # the million and one is a step of float32 off
    assert check_interactions(matrices, result) == pytest.approx(1e-6, rel=1e-3)


def test_an_error_is_found_in_whichever_row_and_output_it_is() -> None:
    for row in (0, 3, 699):
        for off in (1e-3, -1e-3, 0.67):
            result = contributions()
            scale = max(1.0, float(np.abs(result.array[row, 1]).max()))
            result.margins[row, 1] = result.contributions[row, 1].sum(dtype=np.float64) + off * scale
            with pytest.raises(SumsDifferError, match=rf"off their margin for output 1 in row {row};"):
                check_sums(result)


def test_a_difference_above_the_tolerance_of_the_rows_own_scale_is_a_fault() -> None:
    for size, scale in ((0.0, 1.0), (1e6, 2e6)):
        result = result_of(np.full((1, 1, 2), size))
        margin = float(result.margins[0, 0])
        result.margins[0, 0] = margin + 0.98 * TOLERANCE * scale
        assert check_sums(result) == pytest.approx(0.98 * TOLERANCE, rel=1e-2)
        result.margins[0, 0] = margin + 1.02 * TOLERANCE * scale
        with pytest.raises(SumsDifferError):
            check_sums(result)


@pytest.mark.parametrize("part", ["values", "base_values", "margins"])
def test_a_number_that_is_not_finite_is_a_fault(part: str) -> None:
    for number in (np.nan, np.inf, -np.inf):
        result = contributions(rows=5)
        getattr(result, part)[4, 2, ...].flat[0] = number
        with pytest.raises(SumsDifferError, match="values are not all finite numbers for output 2 in row 4;"):
            check_sums(result)
        result.values[4, 2, 0] = result.margins[4, 2] = np.inf  # two that would cancel
        with pytest.raises(SumsDifferError, match="not all finite"):
            check_sums(result)


@pytest.mark.parametrize(("rows", "outputs", "features"), [(1, 1, 1), (3, 70, 2), (2, 1, 70_000), (0, 2, 3)])
def test_every_shape_is_checked_to_its_last_row(rows: int, outputs: int, features: int) -> None:
    result = contributions(rows, outputs, features)
    assert check_sums(result) <= TOLERANCE
    if rows:
        result.margins[-1, -1] += 1 + abs(result.margins[-1, -1])
        with pytest.raises(SumsDifferError):
            check_sums(result)


def test_the_message_blames_no_rows_and_says_what_to_do() -> None:
    result = contributions(rows=5, outputs=1)
    result.margins[3, 0] += 0.67
    with pytest.raises(EngineFaultError) as caught:
        check_sums(result, first_row=40)
    found = f"values are 0.67 off their margin in row 43; no result was stored. {ADVICE}"
    assert str(caught.value) == f"The engine's {found}"
    assert isinstance(caught.value, SumsDifferError)
    named = str(caught.value.of("shap", "loans@3", 1000))
    assert named.startswith(
        "The shap engine's values of model loans@3 are 0.67 off their margin in row 1043;"
    )


def matrices_of(rows: int, outputs: int, features: int) -> tuple[Matrix, Explanation]:
    """Return symmetric matrices, and the explanation that their lines add up to."""
    pairs = np.random.default_rng(3).normal(size=(rows, outputs, features + 1, features + 1))
    pairs += pairs.swapaxes(2, 3)
    pairs[:, :, -1] = pairs[:, :, :, -1] = 0
    pairs[:, :, -1, -1] = 0.5
    sums = pairs.sum(axis=3)
    parts = join_parts(sums[..., :-1], sums[..., -1], sums.sum(axis=2))
    return pairs.astype(np.float32), Explanation(parts.astype(np.float32))


def test_interactions_must_add_up_and_be_finite() -> None:
    matrices, result = matrices_of(40, 2, 12)
    assert 0 < check_interactions(matrices, result) <= CERTAIN
    for line, said in ((0, "off the value of feature 0"), (12, "off the base value")):
        wrong = matrices.copy()
        wrong[39, 1, line, line] += 0.25
        with pytest.raises(SumsDifferError, match=rf"interactions are 0.25 {said} for output 1 in row 49;"):
            check_interactions(wrong, result, first_row=10)
    matrices[2, 0, 1, 2] = np.nan
    with pytest.raises(SumsDifferError, match="not all finite numbers for output 0 in row 2;"):
        check_interactions(matrices, result)
