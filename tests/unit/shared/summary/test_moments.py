from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.summary import moments
from shared.summary.moments import Moments, Of

type Floats = NDArray[np.float32]


def data(seed: int, rows: int, features: int, outputs: int, missing: float = 0.2) -> tuple[Floats, Floats]:
    chance = np.random.default_rng(seed)
    x = (chance.normal(size=(rows, features)) * 10.0 ** chance.integers(-3, 6, features)).astype(np.float32)
    x[chance.random(x.shape) < missing] = np.nan
    phi = chance.normal(loc=3, size=(rows, outputs, features)).astype(np.float32)
    return x, phi


def assert_are_numpys(found: Moments, x: Floats, phi: Floats) -> None:
    table = found.table
    exact = phi.astype(np.float64)
    np.testing.assert_allclose(found.mean_abs, np.abs(exact).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(table[..., Of.MEAN], exact.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.deviation, exact.std(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(table[..., Of.LEAST], exact.min(axis=0))
    np.testing.assert_array_equal(table[..., Of.MOST], exact.max(axis=0))
    np.testing.assert_array_equal(found.missing[0], np.isnan(x).sum(axis=0))
    for output in range(phi.shape[1]):
        for feature in range(phi.shape[2]):
            there = ~np.isnan(x[:, feature])
            pair = x[there, feature].astype(np.float64), exact[there, output, feature]
            with np.errstate(all="ignore"):
                defined = there.sum() > 1 and min(np.ptp(pair[0]), np.ptp(pair[1])) > 0
            wanted = np.corrcoef(*pair)[0, 1] if defined else np.nan
            np.testing.assert_allclose(found.correlation[output, feature], wanted, rtol=1e-7, atol=1e-9)


@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(1, 59), max_size=6),
    features=st.integers(1, 4),
    outputs=st.integers(1, 3),
    missing=st.sampled_from([0.0, 0.3, 1.0]),
)
@settings(max_examples=25, deadline=None)
def test_moments_merged_from_any_parts_at_once_or_step_by_step_are_numpys_over_all_rows(
    seed: int, cuts: list[int], features: int, outputs: int, missing: float
) -> None:
    x, phi = data(seed, 60, features, outputs, missing)
    edges = sorted({0, 60, *cuts})
    parts = [Moments.of(x[start:stop], phi[start:stop]) for start, stop in pairwise(edges)]
    for merged in (Moments.merged(parts), reduce(lambda one, other: Moments.merged([one, other]), parts)):
        assert merged.rows == 60
        assert_are_numpys(merged, x, phi)


def test_wide_and_many_rows_are_looked_at_block_by_block_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, phi = data(6, 2 * moments.BLOCK_NUMBERS // 30 + 1, features=30, outputs=2)
    found = Moments.of(x, phi)
    assert found.rows == len(x)
    assert_are_numpys(found, x, phi)

    x, phi = data(2, 20, 11, 1)
    whole = Moments.of(x, phi)
    monkeypatch.setattr(moments, "BLOCK_FEATURES", 4)
    np.testing.assert_array_equal(Moments.of(x, phi).table, whole.table)


def test_what_never_changes_has_no_correlation_and_no_deviation() -> None:
    x, phi = data(3, 1000, 2, 1, missing=0)
    x[:, 0] = np.float32(0.1)
    phi[:, 0, 1] = np.float32(1 / 3)
    parts = [Moments.of(x[start : start + 7], phi[start : start + 7]) for start in range(0, 1000, 7)]
    merged = Moments.merged(parts)
    assert np.isnan(merged.correlation).all()
    assert merged.deviation[0, 1] == pytest.approx(0, abs=1e-12)

    one = Moments.of(np.array([[1.5, np.nan]], np.float32), np.array([[[2.0, -3.0]]], np.float32))
    np.testing.assert_array_equal(one.mean_abs, [[2, 3]])
    np.testing.assert_array_equal(one.deviation, [[0, 0]])
    np.testing.assert_array_equal(one.missing, [[0, 1]])
    assert np.isnan(one.correlation).all()
