"""Interventional values of random models, compared with the definition and with shap."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.models.activation.compilation import compile_booster
from shared.models.activation.verification.exact_interventional import values_of_tree
from shared.treeshap.explainer import Explainer
from shared.treeshap.forest import read_forest
from shared.treeshap.interventional import against_background
from shared.treeshap.library import Library
from tests.unit.shared.treeshap.boosters import Floats, margins, rows_of, train
from tests.unit.shared.treeshap.truth import Doubles

KINDS: dict[str, dict[str, Any]] = {
    "one output": {},
    "classes": {"objective": "multi:softprob", "num_class": 3},
    "targets": {"targets": 2},
    "dart": {"booster": "dart", "rate_drop": 0.5, "one_drop": 1},
    "dart without drops": {"booster": "dart", "rate_drop": 0},
    "categories": {"categories": 20, "max_cat_to_onehot": 1},
    "forest": {"num_parallel_tree": 2, "subsample": 0.5},
}
#: Models that shap refuses, and dart, whose weights of dropped trees it ignores.
NOT_SHAPS = ("forest", "categories", "dart")


def by_shap(booster: Any, rows: Floats, background: Floats, outputs: int) -> Doubles:
    shap = pytest.importorskip("shap")
    masker = shap.maskers.Independent(background, max_samples=len(background))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that many background rows are slow
        explainer = shap.TreeExplainer(
            booster, data=masker, feature_perturbation="interventional", model_output="raw"
        )
    values = np.asarray(explainer.shap_values(rows, check_additivity=False))
    return values.reshape(len(rows), rows.shape[1], outputs).swapaxes(1, 2)


def by_definition(booster: Any, rows: Floats, background: Floats, outputs: int) -> Doubles:
    values = np.zeros((len(rows), outputs, rows.shape[1]))
    for tree in read_forest(bytes(booster.save_raw("ubj"))).trees:
        values[:, tree.output] += [values_of_tree(tree, row, background) for row in rows]
    return values


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(list(KINDS)),
    depth=st.integers(1, 8),
    trees=st.integers(1, 5),
    features=st.integers(2, 8),
    seed=st.integers(0, 1000),
    rest=st.fixed_dictionaries(
        {"min_child_weight": st.sampled_from([0, 1, 20]), "gamma": st.sampled_from([0, 1e9])}
    ),
)
def test_random_models_have_the_values_of_the_definition_and_of_shap(
    library: Library, kind: str, depth: int, trees: int, features: int, seed: int, rest: dict[str, Any]
) -> None:
    booster, x = train(depth, trees, features, seed, **KINDS[kind], **rest)
    rows, background = x[[*range(6), 0]], x[20:57]
    rows[-1] = np.nan
    compiled = against_background(compile_booster(booster), background)
    truths = [by_definition(booster, rows, background, compiled.outputs)]
    if kind not in NOT_SHAPS:
        truths.append(by_shap(booster, rows, background, compiled.outputs))
    for kernel in library.kernels():
        got = Explainer(compiled, library, kernel).explain(rows)
        for wanted in truths:
            np.testing.assert_allclose(got.values, wanted, atol=1e-5, rtol=1e-5)
        np.testing.assert_array_equal(got.margins, margins(booster, rows))
        np.testing.assert_allclose(got.contributions.sum(axis=2), got.margins, atol=1e-5, rtol=1e-5)


def test_ten_thousand_background_rows_all_count_as_they_do_for_shap(library: Library) -> None:
    booster, x = train(5, 20, 8)
    background = rows_of(1, 10_000, 8)
    compiled = against_background(compile_booster(booster), background)
    got = Explainer(compiled, library).explain(x[:3])
    wanted = by_shap(booster, x[:3], background, 1)
    np.testing.assert_allclose(got.values, wanted, atol=1e-5, rtol=1e-5)
    few = Explainer(against_background(compile_booster(booster), background[:100]), library).explain(x[:3])
    assert np.abs(few.values - wanted).max() > 1e-3
