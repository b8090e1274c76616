"""The float64 reference and every kernel, compared with the definition and XGBoost."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.explanation import Explanation
from shared.models.activation.compilation import compile_booster, start_margins
from shared.models.activation.verification.exact_interventional import values_of_tree
from shared.models.activation.verification.exact_values import exact_interactions, exact_values
from shared.treeshap import layout
from shared.treeshap import pairs as pairs_module
from shared.treeshap.compiled import Compiled
from shared.treeshap.compiler import compile_forest
from shared.treeshap.explainer import Explainer, InteractionExplainer
from shared.treeshap.forest import Forest, NotCoveredError, read_forest
from shared.treeshap.interventional import against_background
from shared.treeshap.library import Kernel, Library, native_model
from shared.treeshap.pairs import find_pairs
from tests.support.boosters import (
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
from tests.support.shapley import (
    KINDS,
    WITH_BACKGROUND,
    Doubles,
    by_subsets,
    chain,
    edge,
    interventional_by_subsets,
    odd_trees,
    shapley_by_leaves,
)

SIZES = (1, 2, 4, 15, 16, 17, 95, 96, 97, 256, 257, 600)
CLASSES: dict[str, Any] = {"objective": "multi:softprob", "num_class": 3}


def forest_and_start(booster: Any) -> tuple[Forest, Floats]:
    forest = read_forest(bytes(booster.save_raw("ubj")))
    return forest, start_margins(booster, forest)


def matrices(compiled: Compiled, library: Library, kernel: Kernel, rows: Floats) -> Floats:
    values = Explainer(compiled, library, kernel).explain(rows)
    return InteractionExplainer(compiled, library, kernel).matrices(rows, values)


def exact_matrices(booster: Any, rows: Floats) -> Doubles:
    forest, start = forest_and_start(booster)
    return np.array([exact_interactions(forest, start, row) for row in rows])


def exact_interventional(booster: Any, rows: Floats, background: Floats) -> Doubles:
    """Return values in float64 against a background, leaf by leaf: rows x outputs x features."""
    forest = read_forest(bytes(booster.save_raw("ubj")))
    exact = np.zeros((len(rows), forest.outputs, rows.shape[1]))
    for tree in forest.trees:
        exact[:, tree.output] += [values_of_tree(tree, row, background) for row in rows]
    return exact


def pairs_of(found: Any) -> Any:
    """Leave out the diagonal and the base value's row and column."""
    features = found.shape[-1] - 1
    return found[:, :, :features, :features] * (1 - np.eye(features))


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_and_every_kernel_give_the_values_and_interactions_of_the_definition(
    library: Library, kind: str
) -> None:
    booster, x = train(trees=3, **KINDS[kind])
    rows, compiled = x[[0, 1, 2, 300]], compile_booster(booster)
    values, between = by_subsets(booster, rows, compiled.outputs)
    exact, pairs = exact_values(*forest_and_start(booster), rows), exact_matrices(booster, rows)
    np.testing.assert_allclose(exact.values, values, atol=1e-13)
    np.testing.assert_allclose(exact.values.sum(axis=2) + exact.base_values, exact.margins, atol=1e-12)
    np.testing.assert_allclose(exact.margins, margins(booster, rows), rtol=1e-6, atol=1e-6)
    bases = contributions(booster, rows)[:, :, -1]
    np.testing.assert_allclose(exact.base_values, bases, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pairs_of(pairs), between, atol=1e-13)
    np.testing.assert_allclose(pairs[:, :, :-1].sum(axis=3), exact.values, atol=1e-13)
    np.testing.assert_allclose(pairs[:, :, -1].sum(axis=2), exact.base_values, atol=1e-13)
    np.testing.assert_allclose(pairs, interactions(booster, rows), atol=2e-6)
    for kernel in library.kernels():
        got = Explainer(compiled, library, kernel).explain(rows)
        assert np.abs(got.values - values).max() <= 5e-7 * (1 + np.abs(values).max()), kernel
        np.testing.assert_array_equal(got.margins, margins(booster, rows))
        np.testing.assert_allclose(got.base_values, bases, rtol=1e-6, atol=1e-6)
        found = matrices(compiled, library, kernel, rows)
        assert np.abs(pairs_of(found) - between).max() <= 5e-7 * (1 + np.abs(between).max()), kernel
        np.testing.assert_allclose(found, interactions(booster, rows), atol=2e-6)
        many = matrices(compiled, library, kernel, x[:50])
        of_many = Explainer(compiled, library, kernel).explain(x[:50])
        np.testing.assert_array_equal(many, many.swapaxes(2, 3))
        np.testing.assert_allclose(many.sum(axis=3), of_many.contributions, atol=2e-6)
        np.testing.assert_array_equal(many[:, :, -1, -1], of_many.base_values)
        assert not many[:, :, -1, :-1].any()


@pytest.mark.parametrize("kind", WITH_BACKGROUND)
def test_the_reference_and_every_kernel_give_the_values_of_the_definition_against_a_background(
    library: Library, kind: str
) -> None:
    booster, x = train(trees=3, **WITH_BACKGROUND[kind])
    rows, background = x[[0, 1, 2, 300]], x[50:54]
    rows[2] = np.nan
    plain = compile_booster(booster)
    compiled = against_background(plain, background)
    wanted = interventional_by_subsets(booster, rows, background, compiled.outputs)
    np.testing.assert_allclose(exact_interventional(booster, rows, background), wanted, atol=1e-12)
    means = margins(booster, background).mean(axis=0, dtype=np.float64)
    for kernel in library.kernels():
        for count in (1, 4, 300):  # alone, as the beginning of a block, and as a block and some of another
            some, right = (np.resize(each, (count, *each.shape[1:])) for each in (rows, wanted))
            got = Explainer(compiled, library, kernel).explain(some)
            assert np.abs(got.values - right).max() <= 5e-7 * (1 + np.abs(wanted).max()), kernel
            np.testing.assert_array_equal(got.margins, margins(booster, some))
            np.testing.assert_allclose(got.base_values, np.tile(means, (count, 1)), rtol=1e-6, atol=1e-6)
    if kind == "eight bits":  # the widest tables are those of new and of repeated features
        leaves = (plain.nodes["left"] < 0) | (plain.nodes["right"] < 0)
        widest = plain.nodes[(plain.nodes["above"] == layout.MOST_BITS - 1) & leaves]
        assert set(widest["flags"] & layout.REPEATED) == {0, layout.REPEATED}


@pytest.mark.parametrize(
    ("depth", "trees", "features"), [(3, 60, 12), (6, 20, 12), (6, 20, 4), (8, 4, 12), (12, 1, 12)]
)
def test_no_kernel_is_further_from_the_truth_than_xgboost_or_a_float_can_be(
    library: Library, depth: int, trees: int, features: int
) -> None:
    booster, x = train(depth, trees, features, min_child_weight=0)
    rows = x[:40]
    forest, start = forest_and_start(booster)
    truth, pairs = exact_values(forest, start, rows).values, pairs_of(exact_matrices(booster, rows[:16]))
    np.testing.assert_allclose(truth[:2], shapley_by_leaves(booster, rows[:2]), atol=1e-12)
    theirs = interactions(booster, rows[:16])
    xgboosts = np.abs(contributions(booster, rows)[:, :, :-1] - truth)
    between = np.abs(pairs_of(theirs) - pairs)
    one_float = np.finfo(np.float32).eps * np.abs(theirs).max()
    for kernel in library.kernels():
        for budget in (64, 0):
            compiled = compile_forest(forest, start, budget)
            ours = np.abs(Explainer(compiled, library, kernel).explain(rows).values - truth)
            assert ours.max() <= max(xgboosts.max(), one_float)
            assert np.sqrt((ours**2).mean()) <= np.sqrt((xgboosts**2).mean())
        ours = np.abs(pairs_of(matrices(compile_booster(booster), library, kernel, rows[:16])) - pairs)
        assert ours.max() <= max(between.max(), one_float)
        assert np.sqrt((ours**2).mean()) <= np.sqrt((between**2).mean())


@settings(max_examples=40, deadline=None, derandomize=True)
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
    wanted, pairs = by_subsets(booster, rows)
    exact = exact_values(*forest_and_start(booster), rows)
    np.testing.assert_allclose(exact.values, wanted, atol=1e-11)
    np.testing.assert_allclose(exact.margins, margins(booster, rows), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pairs_of(exact_matrices(booster, rows)), pairs, atol=1e-11)
    for kernel in library.kernels():
        for some in (rows, np.tile(rows, (8, 1))):  # row by row, and as a block
            got = Explainer(compiled, library, kernel).explain(some)
            np.testing.assert_allclose(got[:3].values, wanted, atol=2e-6)
            np.testing.assert_array_equal(got[:3].margins, margins(booster, rows))
        np.testing.assert_allclose(pairs_of(matrices(compiled, library, kernel, rows)), pairs, atol=2e-6)


def test_ten_thousand_background_rows_all_count_and_cost_a_row_nothing(library: Library) -> None:
    booster, x = train(5, 20, 8)
    background, plain = rows_of(1, 10_000, 8), compile_booster(booster)
    compiled = against_background(plain, background)
    assert compiled.tables.nbytes == plain.tables.nbytes
    wanted = exact_interventional(booster, x[:3], background)
    got = Explainer(compiled, library).explain(x[:3])
    np.testing.assert_allclose(got.values, wanted, atol=1e-5, rtol=1e-5)
    few = Explainer(against_background(plain, background[:100]), library).explain(x[:3])
    assert np.abs(few.values - wanted).max() > 1e-3


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
    exact = exact_values(*forest_and_start(booster), rows)
    np.testing.assert_allclose(exact.values, by_subsets(booster, rows)[0], atol=1e-13)
    np.testing.assert_allclose(exact.margins, margins(booster, rows), rtol=1e-6, atol=1e-6)
    for kernel in library.kernels():
        got = Explainer(compile_booster(booster), library, kernel).explain(rows)
        np.testing.assert_array_equal(got.margins, margins(booster, rows))
        np.testing.assert_allclose(got.contributions, contributions(booster, rows), atol=2e-6)


def test_long_paths_are_exact_beyond_xgboosts_eight_points_and_beyond_the_kernels(library: Library) -> None:
    for depth, ratio in ((24, 2.0), (40, 1.2)):
        booster = load(document_with([chain(depth, ratio)], depth))
        rows = rows_of(3, 6, depth)
        rows[:2] = -1
        wanted = shapley_by_leaves(booster, rows)
        exact = exact_values(*forest_and_start(booster), rows)
        np.testing.assert_allclose(exact.values, wanted, atol=1e-12)
        pairs = exact_matrices(booster, rows[:1])
        np.testing.assert_allclose(pairs, pairs.swapaxes(2, 3), atol=1e-15)
        np.testing.assert_allclose(pairs[:, :, :-1].sum(axis=3), wanted[:1], atol=1e-12)
        for kernel in library.kernels() if depth == 24 else ():
            got = Explainer(compile_booster(booster), library, kernel).explain(rows)
            np.testing.assert_allclose(got.values, wanted, atol=2e-6)


def test_models_without_trees_splits_or_pairs_give_nothing_to_features(library: Library) -> None:
    booster, x = train(3, 0, 4, base_score=0.25)
    start = np.tile([0, 0, 0, 0, 0.25, 0.25], (40, 1, 1))
    np.testing.assert_array_equal(exact_values(*forest_and_start(booster), x[:40]).array, start)
    assert np.count_nonzero(exact_matrices(booster, x[:1])) == 1
    leaves, _ = train(3, 2, 4, gamma=1e9)
    stumps, _ = train(1, 3, 4)
    assert native_model(compile_booster(leaves)).used == 0
    for kernel in library.kernels():
        got = Explainer(compile_booster(booster), library, kernel).explain(x[:40])
        np.testing.assert_array_equal(got.array, start)
        for compiled in (compile_booster(leaves), against_background(compile_booster(leaves), x)):
            single = Explainer(compiled, library, kernel).explain(x)
            assert not single.values.any()
            np.testing.assert_allclose(single.margins, single.base_values, rtol=1e-6)
        for one in (leaves, stumps):
            alone = matrices(compile_booster(one), library, kernel, x[:40])
            np.testing.assert_allclose(alone, interactions(one, x[:40]), atol=1e-6)
            assert not pairs_of(alone).any()
    assert not InteractionExplainer(compile_booster(stumps), library).top(x[:40], 5).any()


@pytest.mark.parametrize(
    "how",
    [
        {"depth": 6, "trees": 8, "features": 8},
        {"depth": 6, "trees": 8, "features": 2},
        {"depth": 8, "trees": 4, "features": 8, "min_child_weight": 0},
        {"depth": 5, "trees": 4, "features": 5, "categories": 40, "max_cat_to_onehot": 1, **CLASSES},
    ],
    ids=["tables", "repeated features", "quadrature", "classes and categories"],
)
def test_all_kernels_give_the_same_for_any_number_of_rows_and_blocks_of_any_size(
    library: Library, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    booster, x = train(**how)
    compiled, last = compile_booster(booster), library.kernels()[-1]
    wanted, pairs = Explainer(compiled, library, last).explain(x), matrices(compiled, library, last, x)
    monkeypatch.setattr(pairs_module, "_MOST_ROWS", 96)
    for kernel, size in itertools.product(library.kernels(), SIZES):
        got = Explainer(compiled, library, kernel).explain(x[-size:])
        np.testing.assert_allclose(got.contributions, wanted[-size:].contributions, atol=1e-6)
        np.testing.assert_array_equal(got.margins, wanted[-size:].margins)
        found = matrices(compiled, library, kernel, x[-size:])
        np.testing.assert_allclose(found, pairs[-size:], atol=1e-6 * (1 + np.abs(pairs).max()))
    assert Explainer(compiled, library).explain(x[:0]).array.shape == (0, *wanted.array.shape[1:])
    assert matrices(compiled, library, last, x[:0]).shape == (0, *pairs.shape[1:])


def test_tables_of_any_budget_and_quadrature_give_the_same(library: Library) -> None:
    booster, x = train(6, 20, 8)
    forest, start = forest_and_start(booster)
    whole = compile_booster(booster)
    size = whole.tables.nbytes / 1e6
    half, none, bare = (compile_forest(forest, start, budget) for budget in (size / 2, 0, size))
    assert whole.trees["has_tables"].all()
    assert (whole.trees["factors"] >= 0).all()
    assert 0 < half.trees["has_tables"].sum() < 20
    assert half.tables.nbytes <= size / 2 * 1e6
    assert not none.trees["has_tables"].any()
    assert bare.trees["has_tables"].all()  # and nothing is left of the budget for factors
    assert (bare.trees["factors"] == -1).all()
    wanted = Explainer(whole, library).explain(x).array
    for kernel, compiled, rows in itertools.product(library.kernels(), (whole, half, none, bare), (1, 600)):
        got = Explainer(compiled, library, kernel).explain(x[:rows]).array
        np.testing.assert_allclose(got, wanted[:rows], atol=1e-6, err_msg=kernel.engine)


def test_threads_share_explainers_and_rows_may_have_any_layout_but_no_other_width(library: Library) -> None:
    booster, x = train(6, 10, 8)
    compiled = compile_booster(booster)
    explainer, pairs = Explainer(compiled, library), InteractionExplainer(compiled, library)
    wanted = explainer.explain(x)
    matrices_wanted = pairs.matrices(x, wanted)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(explainer.explain, [x] * 40):
            np.testing.assert_array_equal(got.array, wanted.array)
        for found in pool.map(pairs.matrices, [x] * 12, [wanted] * 12):
            np.testing.assert_array_equal(found, matrices_wanted)
    alone = Explanation.concatenate([explainer.explain(row[None]) for row in x[:40]])
    np.testing.assert_array_equal(alone.base_values, wanted[:40].base_values)
    np.testing.assert_array_equal(alone.margins, wanted[:40].margins)
    np.testing.assert_array_equal(explainer.explain(np.asfortranarray(x)).array, wanted.array)
    np.testing.assert_array_equal(explainer.explain(x[::-1]).array[::-1], wanted.array)
    for refused in (lambda: explainer.explain(x[:, :3]), lambda: pairs.top(x[:, :3], 1)):
        with pytest.raises(ValueError, match="8 columns"):
            refused()


def test_the_top_pairs_are_the_matrices_largest_above_the_diagonal(library: Library) -> None:
    booster, x = train(3, 4, 6, **CLASSES)
    compiled = compile_booster(booster)
    lower, upper = np.triu_indices(6, 1)
    for kernel, count in itertools.product(library.kernels(), (1, 4, 15, 40)):
        dense = matrices(compiled, library, kernel, x[:70])
        top = InteractionExplainer(compiled, library, kernel).top(x[:70], count)
        assert top.shape == (70, 3, count, 3)
        above = np.sort(np.abs(dense[:, :, lower, upper]), axis=2)[:, :, ::-1][:, :, :count]
        np.testing.assert_array_equal(np.abs(top[:, :, : above.shape[2], 2]), above)
        row, output, place = np.nonzero(top[..., 2])
        one, other = (top[row, output, place, part].astype(int) for part in (0, 1))
        assert (one < other).all()
        np.testing.assert_array_equal(dense[row, output, one, other], top[row, output, place, 2])
        assert not top[top[..., 2] == 0].any()


def test_what_would_take_too_much_memory_or_has_no_tables_is_not_covered(library: Library) -> None:
    booster, x = train(4, 3, 6)
    compiled = compile_booster(booster)
    with pytest.raises(NotCoveredError, match=r"more than 0\.0001 MB"):
        find_pairs(compiled, 0.0001)
    with pytest.raises(NotCoveredError, match="background"):
        InteractionExplainer(against_background(compiled, x[:20]), library)
    with pytest.raises(NotCoveredError, match="no background"):
        against_background(compiled, x[:0])
