from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.explanation import Explanation
from shared.models.activation.compilation import compile_booster
from shared.models.activation.verification.exact_values import exact_values
from shared.models.activation.verification.trial_rows import rows_for_tables
from shared.treeshap.compiler import compile_forest
from shared.treeshap.explainer import Explainer
from shared.treeshap.forest import read_forest
from shared.treeshap.library import Library
from tests.unit.shared.treeshap.boosters import (
    contributions,
    document_with,
    load,
    margins,
    rows_of,
    train,
    tree_document,
)
from tests.unit.shared.treeshap.truth import shapley_by_leaves, shapley_by_subsets

#: XGBoost's own quadrature is exact for so many different features on a path.
XGBOOST_EXACT_FEATURES = 8
KINDS: dict[str, dict[str, Any]] = {
    "one output": {"depth": 4, "features": 6},
    "features repeated on a path": {"depth": 6, "features": 2},
    "deeper than tables": {"depth": 8, "features": 7, "min_child_weight": 4},
    "deeper than tables and repeated": {"depth": 9, "features": 3, "min_child_weight": 0},
    "several classes": {"depth": 3, "features": 4, "objective": "multi:softprob", "num_class": 3},
    "several targets": {"depth": 3, "features": 4, "targets": 2},
    "a vector in each leaf": {"depth": 4, "features": 4, "targets": 3, "multi_strategy": "multi_output_tree"},
    "a single leaf in each tree": {"depth": 3, "features": 3, "gamma": 1e9, "base_score": 0.1},
    "a forest in each round": {"depth": 3, "features": 4, "num_parallel_tree": 3, "subsample": 0.5},
    "dart": {"depth": 3, "features": 4, "booster": "dart", "rate_drop": 0.5, "one_drop": 1},
    "categories in a set": {"depth": 4, "features": 4, "categories": 40, "max_cat_to_onehot": 1},
    "categories one by one": {"depth": 4, "features": 4, "categories": 5, "max_cat_to_onehot": 8},
    "leaves in loss order": {"depth": 0, "features": 5, "grow_policy": "lossguide", "max_leaves": 20},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kernel_gives_the_values_of_the_definition(library: Library, kind: str) -> None:
    booster, x = train(trees=3, **KINDS[kind])
    rows = x[[0, 1, 2, 300, 301]]
    compiled = compile_booster(booster)
    wanted = shapley_by_subsets(booster, rows, compiled.outputs)
    scale = 1 + np.abs(wanted).max()
    for kernel in library.kernels():
        got = Explainer(compiled, library, kernel).explain(rows)
        assert np.abs(got.values - wanted).max() <= 5e-7 * scale, kernel
        np.testing.assert_array_equal(got.margins, margins(booster, rows))
        np.testing.assert_allclose(
            got.base_values, contributions(booster, rows)[:, :, -1], rtol=1e-6, atol=1e-6
        )


def test_the_two_truths_agree(library: Library) -> None:
    del library
    for depth, features in ((3, 5), (5, 2)):
        booster, x = train(depth, 3, features)
        by_subsets, by_leaves = (way(booster, x[:5]) for way in (shapley_by_subsets, shapley_by_leaves))
        np.testing.assert_allclose(by_subsets, by_leaves, atol=1e-14)


@pytest.mark.parametrize(
    ("depth", "trees", "features"), [(3, 100, 30), (6, 60, 30), (6, 60, 4), (8, 20, 30), (12, 5, 12)]
)
def test_no_kernel_is_further_from_the_truth_than_xgboost(
    library: Library, depth: int, trees: int, features: int
) -> None:
    booster, x = train(depth, trees, features, min_child_weight=0)
    rows = x[:64]
    truth = shapley_by_leaves(booster, rows)
    xgboosts = np.abs(contributions(booster, rows)[:, :, :-1] - truth)
    for kernel in library.kernels():
        for budget in (64, 0):
            forest = read_forest(bytes(booster.save_raw("ubj")))
            compiled = compile_forest(forest, compile_booster(booster).start, budget)
            ours = np.abs(Explainer(compiled, library, kernel).explain(rows).values - truth)
            assert ours.max() <= xgboosts.max()
            assert np.sqrt((ours**2).mean()) <= np.sqrt((xgboosts**2).mean())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    depth=st.integers(1, 9),
    trees=st.integers(1, 12),
    features=st.integers(1, 12),
    classes=st.sampled_from([0, 3]),
    dart=st.booleans(),
    seed=st.integers(0, 99),
)
def test_trained_models_agree_with_xgboost_whatever_their_shape(
    library: Library,
    depth: int,
    trees: int,
    features: int,
    classes: int,
    dart: bool,  # noqa: FBT001  # hypothesis calls it by name
    seed: int,
) -> None:
    params: dict[str, Any] = {"objective": "multi:softmax", "num_class": classes} if classes else {}
    if dart:
        params |= {"booster": "dart", "rate_drop": 0.4}
    booster, _ = train(depth, trees, features, seed, **params)
    compiled, forest = compile_booster(booster), read_forest(bytes(booster.save_raw("ubj")))
    rows = rows_for_tables(compiled, forest)
    wanted: Any = contributions(booster, rows)
    scale = 1 + np.abs(wanted).max(axis=2, keepdims=True)
    if compiled.trees["points"].max(initial=0) * 2 > XGBOOST_EXACT_FEATURES:
        rows, scale = rows[:40], scale[:40]
        exact = exact_values(forest, compiled.start, rows)
        wanted = np.dstack([exact.values, exact.base_values])
    for kernel in library.kernels():
        explainer = Explainer(compiled, library, kernel)
        alone = Explanation.concatenate([explainer.explain(row[None]) for row in rows[:40]])
        for got in (explainer.explain(rows), alone):
            assert (np.abs(got.contributions - wanted[: len(got)]) / scale[: len(got)]).max() <= 1e-5, kernel
            np.testing.assert_array_equal(got.margins, margins(booster, rows[: len(got)]))
            sums = got.contributions.sum(axis=2, dtype=np.float64) - got.margins
            assert (np.abs(sums) / scale[: len(got), :, 0]).max() <= 1e-5, kernel


EDGES = [
    0.0,
    -0.0,
    1.0,
    np.nextafter(np.float32(1), np.float32(2)),
    1e-45,
    -1e-45,
    1.1754942e-38,
    3e38,
    -3e38,
]
edge = st.sampled_from([float(np.float32(value)) for value in EDGES])


@st.composite
def odd_trees(draw: st.DrawFn, features: int = 3) -> Any:
    """A tree with any thresholds, repeats and default sides, and nodes without cover."""
    splits, leaves, covers = {}, {}, {0: 64.0}
    waiting = [0]
    while waiting:
        node = waiting.pop()
        if node > 30 or draw(st.integers(0, 3)) == 0:
            leaves[node] = draw(st.floats(-4, 4, width=32))
            continue
        splits[node] = (draw(st.integers(0, features - 1)), draw(edge), draw(st.booleans()))
        part = draw(st.sampled_from([0.5, 0.25, 0.0, 1.0, 1e-6]))
        covers |= {2 * node + 1: covers[node] * part, 2 * node + 2: covers[node] * (1 - part)}
        waiting += [2 * node + 1, 2 * node + 2]
    return tree_document(splits, leaves, covers, features)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    trees=st.lists(odd_trees(), min_size=1, max_size=3),
    values=st.lists(edge | st.just(np.nan), min_size=9, max_size=9),
)
def test_odd_models_agree_with_the_definition_at_the_edges_of_float32(
    library: Library, trees: list[Any], values: list[float]
) -> None:
    rows = np.array(values, dtype=np.float32).reshape(3, 3)
    booster = load(document_with(trees, 3))
    compiled = compile_booster(booster)
    wanted = shapley_by_subsets(booster, rows)
    for kernel in library.kernels():
        for some in (rows, np.tile(rows, (8, 1))):  # row by row, and as a block
            got = Explainer(compiled, library, kernel).explain(some)
            np.testing.assert_allclose(got[:3].values, wanted, atol=2e-6)
            np.testing.assert_array_equal(got[:3].margins, margins(booster, rows))


def test_a_value_equal_to_its_threshold_goes_right_and_the_float_below_it_left(library: Library) -> None:
    tree = tree_document({0: (0, 0.1, True)}, {1: 1.0, 2: 2.0}, {0: 4.0, 1: 2.0, 2: 2.0}, 1)
    booster = load(document_with([tree], 1))
    at = np.float32(0.1)
    rows = np.array([[at], [np.nextafter(at, np.float32(0))], [np.nan]], dtype=np.float32)
    for kernel in library.kernels():
        got = Explainer(compile_booster(booster), library, kernel).explain(rows)
        np.testing.assert_array_equal(got.array[:, 0], [[0.5, 2.0, 2.5], [-0.5, 2.0, 1.5], [-0.5, 2.0, 1.5]])


def test_categories_that_are_none_go_where_xgboost_sends_them(library: Library) -> None:
    booster, _ = train(4, 5, 2, categories=40, max_cat_to_onehot=1)
    odd = [-1, -0.5, -0.0, 0.5, 3.99, 39, 40, 41, 1e6, 16777215, 16777216, 3e38, np.nan, -3e38, 1e-45]
    rows = np.zeros((len(odd), 2), dtype=np.float32)
    rows[:, 0] = odd
    for kernel in library.kernels():
        got = Explainer(compile_booster(booster), library, kernel).explain(rows)
        np.testing.assert_array_equal(got.margins, margins(booster, rows))
        np.testing.assert_allclose(got.contributions, contributions(booster, rows), atol=2e-6)


def test_a_path_of_more_features_than_xgboosts_eight_points_take_is_exact_all_the_same(
    library: Library,
) -> None:
    depth = 24
    splits = {2**level - 1: (level, 0.0, False) for level in range(depth)}
    leaves = {2**level: 1.0 + level % 5 for level in range(1, depth + 1)} | {2**depth - 1: 7.0}
    covers = {2**level - 1: 2.0 ** (depth - level) for level in range(depth + 1)}
    covers |= {2**level: 2.0 ** (depth - level) for level in range(1, depth + 1)}
    booster = load(document_with([tree_document(splits, leaves, covers, depth)], depth))
    rows = rows_of(3, 20, depth)
    rows[:5] = -1
    wanted = shapley_by_leaves(booster, rows)
    for kernel in library.kernels():
        got = Explainer(compile_booster(booster), library, kernel).explain(rows)
        np.testing.assert_allclose(got.values, wanted, atol=2e-6)


def test_a_model_without_trees_gives_its_start_and_nothing_to_features(library: Library) -> None:
    booster, x = train(3, 0, 4, base_score=0.25)
    compiled = compile_booster(booster)
    for kernel in library.kernels():
        got = Explainer(compiled, library, kernel).explain(x[:40])
        np.testing.assert_array_equal(got.array, np.tile([0, 0, 0, 0, 0.25, 0.25], (40, 1, 1)))
