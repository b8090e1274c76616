"""The reference in float64, against definitions that share nothing with it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.models.activation.compilation import start_margins
from shared.models.activation.verification.exact_values import exact_interactions, exact_values
from shared.treeshap.forest import Forest, read_forest
from tests.unit.shared.treeshap.boosters import (
    Floats,
    contributions,
    document_with,
    interactions,
    load,
    margins,
    rows_of,
    train,
    tree_document,
)
from tests.unit.shared.treeshap.test_exactness import KINDS, edge, odd_trees
from tests.unit.shared.treeshap.truth import (
    Doubles,
    document_of,
    expectation,
    interactions_by_leaves,
    interactions_by_subsets,
    shapley_by_leaves,
    shapley_by_subsets,
    trees_of,
)


def forest_and_start(booster: Any) -> tuple[Forest, Floats]:
    forest = read_forest(bytes(booster.save_raw("ubj")))
    return forest, start_margins(booster, forest)


def exact_matrices(booster: Any, rows: Floats) -> Doubles:
    forest, start = forest_and_start(booster)
    return np.array([exact_interactions(forest, start, row) for row in rows])


def pairs_of(matrices: Doubles) -> Doubles:
    """Without the diagonal and the base value's row and column."""
    features = matrices.shape[-1] - 1
    return matrices[:, :, :features, :features] * (1 - np.eye(features))


@pytest.mark.parametrize("kind", KINDS)
def test_values_base_value_and_margin_are_those_of_the_definition(kind: str) -> None:
    booster, x = train(trees=3, **KINDS[kind])
    rows = x[[0, 1, 2, 300, 301]]
    forest, start = forest_and_start(booster)
    got = exact_values(forest, start, rows)
    np.testing.assert_allclose(got.values, shapley_by_subsets(booster, rows, forest.outputs), atol=1e-13)
    base = start.astype(np.float64)
    for tree in trees_of(document_of(booster)):
        base[tree["output"]] += expectation(tree, rows[0], frozenset())
    np.testing.assert_allclose(got.base_values, np.tile(base, (len(rows), 1)), atol=1e-13)
    np.testing.assert_allclose(got.values.sum(axis=2) + got.base_values, got.margins, atol=1e-12)
    np.testing.assert_allclose(got.margins, margins(booster, rows), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got.base_values, contributions(booster, rows)[:, :, -1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_interactions_are_those_of_the_definition_and_laid_out_as_xgboosts(kind: str) -> None:
    booster, x = train(trees=3, **KINDS[kind])
    rows = x[[0, 1, 300]]
    forest, start = forest_and_start(booster)
    got = exact_matrices(booster, rows)
    np.testing.assert_allclose(
        pairs_of(got), interactions_by_subsets(booster, rows, forest.outputs), atol=1e-13
    )
    exact = exact_values(forest, start, rows)
    np.testing.assert_allclose(got[:, :, :-1].sum(axis=3), exact.values, atol=1e-13)
    np.testing.assert_allclose(got[:, :, -1].sum(axis=2), exact.base_values, atol=1e-13)
    np.testing.assert_allclose(got, interactions(booster, rows), atol=2e-6)


def test_more_trees_and_leaves_than_are_looked_at_together_add_up() -> None:
    booster, x = train(8, 70, 8, min_child_weight=0)
    forest, start = forest_and_start(booster)
    assert len(forest.trees) > 64
    assert sum(int((tree.left < 0).sum()) for tree in forest.trees[:64]) > 4096
    rows = x[:2]
    wanted = shapley_by_leaves(booster, rows)
    np.testing.assert_allclose(exact_values(forest, start, rows).values, wanted, atol=1e-12)


def test_a_path_of_more_features_than_the_kernels_hold_is_exact() -> None:
    depth = 40
    splits = {2**level - 1: (level, 0.0, False) for level in range(depth)}
    leaves = {2**level: 1.0 + level % 5 for level in range(1, depth + 1)} | {2**depth - 1: 7.0}
    covers = {2**level - 1: 1.2 ** (depth - level) for level in range(depth + 1)}
    covers |= {2**level: covers[2 ** (level - 1) - 1] - covers[2**level - 1] for level in range(1, depth + 1)}
    booster = load(document_with([tree_document(splits, leaves, covers, depth)], depth))
    rows = rows_of(3, 3, depth)
    rows[0] = -1
    forest, start = forest_and_start(booster)
    got = exact_values(forest, start, rows)
    np.testing.assert_allclose(got.values, shapley_by_leaves(booster, rows), atol=1e-12)
    np.testing.assert_allclose(
        pairs_of(exact_matrices(booster, rows[:1])), interactions_by_leaves(booster, rows[:1]), atol=1e-12
    )


def test_a_model_without_trees_gives_its_start_alone() -> None:
    booster, x = train(3, 0, 4, base_score=0.25)
    forest, start = forest_and_start(booster)
    got = exact_values(forest, start, x[:3])
    np.testing.assert_array_equal(got.array, np.tile([0, 0, 0, 0, 0.25, 0.25], (3, 1, 1)))
    matrix = exact_interactions(forest, start, x[0])
    assert matrix[0, -1, -1] == 0.25
    assert np.count_nonzero(matrix) == 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    trees=st.lists(odd_trees(), min_size=1, max_size=3),
    values=st.lists(edge | st.just(np.nan), min_size=9, max_size=9),
)
def test_odd_models_are_exact_at_the_edges_of_float32(trees: list[Any], values: list[float]) -> None:
    rows = np.array(values, dtype=np.float32).reshape(3, 3)
    booster = load(document_with(trees, 3))
    forest, start = forest_and_start(booster)
    got = exact_values(forest, start, rows)
    np.testing.assert_allclose(got.values, shapley_by_subsets(booster, rows), atol=1e-11)
    np.testing.assert_allclose(got.margins, margins(booster, rows), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        pairs_of(exact_matrices(booster, rows)), interactions_by_subsets(booster, rows), atol=1e-11
    )


def test_categories_that_are_none_go_where_xgboost_sends_them() -> None:
    booster, _ = train(4, 5, 2, categories=40, max_cat_to_onehot=1)
    odd = [-1, -0.5, -0.0, 0.5, 3.99, 39, 40, 41, 1e6, 16777215, 16777216, 3e38, np.nan, -3e38, 1e-45]
    rows = np.zeros((len(odd), 2), dtype=np.float32)
    rows[:, 0] = odd
    forest, start = forest_and_start(booster)
    got = exact_values(forest, start, rows)
    np.testing.assert_allclose(got.values, shapley_by_subsets(booster, rows), atol=1e-13)
    np.testing.assert_allclose(got.margins, margins(booster, rows), rtol=1e-6, atol=1e-6)
