import itertools
import math
import time
from typing import Any

import numpy as np
import pytest

from shared.models.activation.compilation import compile_booster
from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.explainer import Explainer
from shared.treeshap.forest import NotCoveredError
from shared.treeshap.interventional import against_background
from shared.treeshap.library import Library
from tests.unit.shared.treeshap.boosters import Floats, margins, train
from tests.unit.shared.treeshap.truth import Doubles, document_of, goes_left, trees_of

KINDS: dict[str, dict[str, Any]] = {
    "one output": {"depth": 4, "features": 5},
    "features repeated on a path": {"depth": 6, "features": 2},
    "seven bits": {"depth": 7, "features": 7, "min_child_weight": 0},
    "eight bits": {"depth": 9, "features": 9, "min_child_weight": 0},
    "several classes": {"depth": 3, "features": 4, "objective": "multi:softprob", "num_class": 3},
    "dart": {"depth": 3, "features": 4, "booster": "dart", "rate_drop": 0.5, "one_drop": 1},
    "categories": {"depth": 4, "features": 3, "categories": 40, "max_cat_to_onehot": 1},
}


def leaf_value(tree: Any, row: Floats) -> float:
    node = 0
    while tree["left_children"][node] >= 0:
        left = goes_left(tree, node, row[tree["split_indices"][node]])
        node = tree["left_children" if left else "right_children"][node]
    return float(tree["values"][node])


def by_definition(booster: Any, rows: Floats, background: Floats, outputs: int) -> Doubles:
    """Shapley values of the game whose players bring the row's values into each background row."""
    features = rows.shape[1]
    result = np.zeros((len(rows), outputs, features))
    subsets = [set(c) for size in range(features + 1) for c in itertools.combinations(range(features), size)]
    for tree in trees_of(document_of(booster)):
        for at, row in enumerate(rows):
            worth = {}
            for subset in subsets:
                mixed = background.copy()
                mixed[:, list(subset)] = row[list(subset)]
                worth[frozenset(subset)] = np.mean([leaf_value(tree, one) for one in mixed])
            for feature, subset in itertools.product(range(features), subsets):
                if feature not in subset:
                    weight = 1 / (features * math.comb(features - 1, len(subset)))
                    gained = worth[frozenset(subset | {feature})] - worth[frozenset(subset)]
                    result[at, tree["output"], feature] += weight * gained
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_every_kernel_gives_the_values_of_the_definition_against_a_background(
    library: Library, kind: str
) -> None:
    booster, x = train(trees=3, **KINDS[kind])
    rows, background = x[[0, 1, 2, 300, 301, 302]], x[50:58]
    compiled = against_background(compile_booster(booster), background)
    wanted = by_definition(booster, rows, background, compiled.outputs)
    scale = 1 + np.abs(wanted).max()
    for kernel in library.kernels():
        for count in (1, 6, 300):  # alone, as the beginning of a block, and as a block and some of another
            some, right = (np.resize(each, (count, *each.shape[1:])) for each in (rows, wanted))
            got = Explainer(compiled, library, kernel).explain(some)
            assert np.abs(got.values - right).max() <= 5e-7 * scale, kernel
            np.testing.assert_array_equal(got.margins, margins(booster, some))
            means = margins(booster, background).mean(axis=0, dtype=np.float64)
            np.testing.assert_allclose(got.base_values, np.tile(means, (len(some), 1)), rtol=1e-6, atol=1e-6)


def test_the_widest_tables_are_those_of_new_and_of_repeated_features(library: Library) -> None:
    del library
    nodes = compile_booster(train(trees=3, **KINDS["eight bits"])[0]).nodes
    widest = nodes[(nodes["above"] == layout.MOST_BITS - 1) & ((nodes["left"] < 0) | (nodes["right"] < 0))]
    assert set(widest["flags"] & layout.REPEATED) == {0, layout.REPEATED}


def test_they_are_shaps_for_a_model_of_a_hundred_trees_and_a_background_with_missing_values(
    library: Library,
) -> None:
    shap = pytest.importorskip("shap")
    booster, x = train(6, 100, 12)
    rows, background = x[:50], x[100:200]
    masker = shap.maskers.Independent(background, max_samples=len(background))
    explainer = shap.TreeExplainer(
        booster, data=masker, feature_perturbation="interventional", model_output="raw"
    )
    wanted = explainer.shap_values(rows, check_additivity=False)
    got = Explainer(against_background(compile_booster(booster), background), library).explain(rows)
    np.testing.assert_allclose(got.values[:, 0], wanted, atol=1e-5)
    np.testing.assert_allclose(got.base_values[:, 0], explainer.expected_value, atol=1e-5)
    np.testing.assert_allclose(got.contributions[:, 0].sum(axis=1), got.margins[:, 0], atol=1e-4)


def test_a_background_of_ten_thousand_rows_costs_a_row_nothing(library: Library) -> None:
    booster, x = train(6, 20, 8)
    plain = compile_booster(booster)
    background = np.tile(x, (17, 1))[:10_000]
    began = time.monotonic()
    large = against_background(plain, background)
    assert time.monotonic() - began < 20
    assert large.tables.nbytes == plain.tables.nbytes
    got = Explainer(large, library).explain(x[:20])
    np.testing.assert_allclose(got.contributions[:, 0].sum(axis=1), got.margins[:, 0], atol=1e-4)


def test_what_has_no_tables_is_not_covered(library: Library) -> None:
    del library
    booster, x = train(10, 2, 12, min_child_weight=0)
    with pytest.raises(NotCoveredError, match="too deep"):
        against_background(compile_booster(booster), x)
    shallow, x = train(2, 2, 3)
    with pytest.raises(NotCoveredError, match="no background"):
        against_background(compile_booster(shallow), x[:0])


def test_single_leaves_alone_have_a_base_value(library: Library) -> None:
    booster, x = train(3, 2, 4, gamma=1e9)
    compiled: Compiled = against_background(compile_booster(booster), x)
    got = Explainer(compiled, library).explain(x)
    np.testing.assert_allclose(got.margins, got.base_values, rtol=1e-6)
