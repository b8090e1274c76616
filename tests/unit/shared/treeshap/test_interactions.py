from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.models.activation.compilation import compile_booster
from shared.treeshap import pairs as pairs_module
from shared.treeshap.compiled import Compiled
from shared.treeshap.explainer import Explainer, InteractionExplainer
from shared.treeshap.forest import NotCoveredError
from shared.treeshap.interventional import against_background
from shared.treeshap.library import Kernel, Library
from shared.treeshap.pairs import find_pairs
from tests.unit.shared.treeshap.boosters import Floats, document_with, interactions, load, train
from tests.unit.shared.treeshap.test_exactness import KINDS, edge, odd_trees
from tests.unit.shared.treeshap.truth import interactions_by_leaves, interactions_by_subsets

SIZES = (1, 2, 15, 16, 17, 95, 96, 97, 256, 257, 600)


def matrices(compiled: Compiled, library: Library, kernel: Kernel, rows: Floats) -> Floats:
    values = Explainer(compiled, library, kernel).explain(rows)
    return InteractionExplainer(compiled, library, kernel).matrices(rows, values)


def off_diagonal(found: Any) -> Any:
    """Without the base value's row and column."""
    features = found.shape[-1] - 1
    return found[:, :, :features, :features] * (1 - np.eye(features))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kernel_gives_the_interactions_of_the_definition_and_xgboosts_matrices(
    library: Library, kind: str
) -> None:
    booster, x = train(trees=3, **KINDS[kind])
    rows = x[[0, 1, 2, 300, 301]]
    compiled = compile_booster(booster)
    wanted = interactions_by_subsets(booster, rows, compiled.outputs)
    scale = 1 + np.abs(wanted).max()
    for kernel in library.kernels():
        got = matrices(compiled, library, kernel, rows)
        assert np.abs(off_diagonal(got) - wanted).max() <= 5e-7 * scale, kernel
        np.testing.assert_allclose(got, interactions(booster, rows), atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_matrices_are_symmetric_and_their_rows_add_up_to_the_values(library: Library, kind: str) -> None:
    booster, x = train(trees=3, **KINDS[kind])
    compiled = compile_booster(booster)
    for kernel in library.kernels():
        values = Explainer(compiled, library, kernel).explain(x[:50])
        got = matrices(compiled, library, kernel, x[:50])
        np.testing.assert_array_equal(got, got.swapaxes(2, 3))
        np.testing.assert_allclose(got.sum(axis=3), values.contributions, atol=2e-6)
        np.testing.assert_array_equal(got[:, :, -1, -1], values.base_values)
        assert not got[:, :, -1, :-1].any()


def test_the_two_truths_agree() -> None:
    for depth, features in ((3, 5), (5, 2)):
        booster, x = train(depth, 3, features)
        by_subsets, by_leaves = (
            way(booster, x[:5]) for way in (interactions_by_subsets, interactions_by_leaves)
        )
        np.testing.assert_allclose(by_subsets, by_leaves, atol=1e-14)


@pytest.mark.parametrize(
    ("depth", "trees", "features"), [(3, 60, 12), (6, 20, 12), (6, 20, 4), (8, 4, 12), (12, 1, 12)]
)
def test_no_kernel_is_further_from_the_truth_than_xgboost_or_a_float_can_be(
    library: Library, depth: int, trees: int, features: int
) -> None:
    booster, x = train(depth, trees, features, min_child_weight=0)
    rows = x[:40]
    truth = interactions_by_leaves(booster, rows)
    theirs = interactions(booster, rows)
    xgboosts = np.abs(off_diagonal(theirs) - truth)
    one_float = np.finfo(np.float32).eps * np.abs(theirs).max()
    for kernel in library.kernels():
        ours = np.abs(off_diagonal(matrices(compile_booster(booster), library, kernel, rows)) - truth)
        assert ours.max() <= max(xgboosts.max(), one_float)
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
    booster, x = train(depth, trees, features, seed, **params)
    wanted = interactions(booster, x[:37])
    for kernel in library.kernels():
        got = matrices(compile_booster(booster), library, kernel, x[:37])
        np.testing.assert_allclose(got, wanted, atol=5e-6 * (1 + np.abs(wanted).max()))


@settings(max_examples=80, deadline=None, derandomize=True)
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
    wanted = interactions_by_subsets(booster, rows)
    for kernel in library.kernels():
        got = matrices(compiled, library, kernel, rows)
        np.testing.assert_allclose(off_diagonal(got), wanted, atol=2e-6)


@pytest.mark.parametrize("block", [16, 96, 256])
def test_blocks_of_any_size_give_the_same_for_any_number_of_rows(
    library: Library, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    booster, x = train(5, 6, 6, objective="multi:softprob", num_class=3)
    compiled = compile_booster(booster)
    wanted = matrices(compiled, library, library.kernels()[-1], x)
    monkeypatch.setattr(pairs_module, "_MOST_ROWS", block)
    for kernel in library.kernels():
        for size in SIZES:
            got = matrices(compiled, library, kernel, x[-size:])
            np.testing.assert_allclose(got, wanted[-size:], atol=1e-6)
    assert matrices(compiled, library, library.kernels()[0], x[:0]).shape == (0, 3, 7, 7)


@pytest.mark.parametrize("count", [1, 4, 15, 40])
def test_the_top_pairs_are_the_matrices_largest_above_the_diagonal(library: Library, count: int) -> None:
    booster, x = train(3, 4, 6, objective="multi:softprob", num_class=3)
    compiled = compile_booster(booster)
    lower, upper = np.triu_indices(6, 1)
    for kernel in library.kernels():
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


def test_a_feature_alone_has_no_pairs_and_keeps_its_value(library: Library) -> None:
    for how in (
        {"depth": 1, "trees": 3, "features": 3},
        {"depth": 3, "trees": 2, "features": 3, "gamma": 1e9},
    ):
        booster, x = train(**how)
        for kernel in library.kernels():
            got = matrices(compile_booster(booster), library, kernel, x[:40])
            np.testing.assert_allclose(got, interactions(booster, x[:40]), atol=1e-6)
            assert not off_diagonal(got).any()
        assert not InteractionExplainer(compile_booster(booster), library).top(x[:40], 5).any()


def test_threads_share_an_explainer(library: Library) -> None:
    booster, x = train(5, 5, 8)
    compiled = compile_booster(booster)
    values = Explainer(compiled, library).explain(x)
    explainer = InteractionExplainer(compiled, library)
    wanted = explainer.matrices(x, values)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(explainer.matrices, [x] * 20, [values] * 20):
            np.testing.assert_array_equal(got, wanted)


def test_rows_of_another_width_are_refused(library: Library) -> None:
    booster, x = train(3, 2, 4)
    with pytest.raises(ValueError, match="4 columns"):
        InteractionExplainer(compile_booster(booster), library).top(x[:, :3], 1)


def test_what_would_take_too_much_memory_or_has_a_background_is_not_covered(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    booster, x = train(4, 3, 6)
    compiled = compile_booster(booster)
    with pytest.raises(NotCoveredError, match=r"more than 0\.0001 MB"):
        find_pairs(compiled, 0.0001)
    with pytest.raises(NotCoveredError, match="background"):
        InteractionExplainer(against_background(compiled, x[:20]), library)
    monkeypatch.setattr(pairs_module, "MOST_PAIRS", 5)
    with pytest.raises(NotCoveredError, match="more than 5 pairs"):
        find_pairs(compiled)
