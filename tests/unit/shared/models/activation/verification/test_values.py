"""Which engine is chosen for values and interactions, and the reasons against a wrong one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import EngineError
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.models.activation.compilation import compile_booster
from shared.models.activation.records import XGBOOST, MethodRecord
from shared.models.activation.verification import values
from shared.models.activation.verification.model_under_test import ModelUnderTest
from shared.models.activation.verification.values import verify_interactions, verify_values
from shared.treeshap import pairs
from shared.treeshap.compiled import Compiled
from shared.treeshap.layout import ONLY_TABLES
from shared.treeshap.library import Kernel, Library
from tests.support.activated import model_under_test
from tests.support.boosters import Floats, document_with, load, train
from tests.support.shapley import KINDS, chain, document_of


class WrongValues(XGBoostEngine):
    """XGBoost, if its first feature took from the second."""

    def explain(self, rows: Floats) -> Explanation:
        got = super().explain(rows)
        got.values[:, :, 0] += 0.01
        got.values[:, :, 1] -= 0.01
        return got


class NoNumbers(XGBoostEngine):
    """XGBoost, if it gave something that is no number."""

    def explain(self, rows: Floats) -> Explanation:
        got = super().explain(rows)
        got.values[5:6, :, 0] = np.nan
        return got


class WrongInteractions(XGBoostEngine):
    """XGBoost, if its first two features shared too much, without effect on the sums."""

    def interactions(self, rows: Floats, explanation: Explanation, wanted: Interactions) -> Floats:
        got = super().interactions(rows, explanation, wanted)
        got[:, :, :2, :2] += np.array([[-0.01, 0.01], [0.01, -0.01]], np.float32)
        return got


class Limited(XGBoostEngine):
    """XGBoost, if it could not give interactions of a model."""

    def interactions(self, rows: Floats, explanation: Explanation, wanted: Interactions) -> Floats:
        del rows, explanation, wanted
        raise EngineError("XGBoost cannot explain this model: not supported")


def check_right(record: MethodRecord, engine: str, most: float = 1e-6, reason: str | None = None) -> None:
    assert (record.engine, record.reason) == (engine, reason)
    assert record.difference is not None
    assert record.residual is not None
    assert engine == XGBOOST or record.row_microseconds is not None
    assert 0 <= record.difference <= most
    assert 0 <= record.residual <= 5e-6


def with_predictor(tested: ModelUnderTest, kind: type[XGBoostEngine]) -> ModelUnderTest:
    predictor = kind(tested.booster, len(tested.contract.outputs))
    return replace(tested, predictor=predictor, explanation=predictor.explain(tested.rows))


@pytest.fixture(scope="module")
def best(library: Library) -> str:
    return library.kernels()[0].engine


@pytest.fixture(scope="module")
def tested(library: Library) -> ModelUnderTest:
    return model_under_test(train(3, 3, 4)[0], library)


@pytest.fixture(scope="module")
def compiled(tested: ModelUnderTest) -> Compiled:
    return compile_booster(tested.booster)


#: A kind for each way of the kernels; docs/methods.md has activated the others.
ACTIVATED = ("one output", "deeper than tables and repeated", "a vector in each leaf", "categories in a set")


@pytest.mark.parametrize("kind", ACTIVATED)
def test_right_tables_and_kernels_are_used_and_without_tables_xgboost(
    library: Library, best: str, kind: str
) -> None:
    booster, _ = train(trees=3, **KINDS[kind])
    tested, compiled = model_under_test(booster, library), compile_booster(booster)
    for verify in (verify_values, verify_interactions):
        check_right(verify(tested, compiled, None), best)
        check_right(verify(tested, None, "too odd for tables"), XGBOOST, 1e-5, "too odd for tables")


def one_number(compiled: Compiled) -> Compiled:
    trees, tables = compiled.trees.copy(), compiled.tables.copy()
    trees["has_tables"] = ONLY_TABLES  # some kernels prefer quadrature where there is a choice
    tables[int(np.flatnonzero(tables)[0])] += np.float32(0.5)
    return replace(compiled, trees=trees, tables=tables)


def of_rows_alone(compiled: Compiled) -> Compiled:
    assert (compiled.trees["has_tables"] & (compiled.trees["factors"] >= 0)).all()
    return replace(compiled, factors=compiled.factors * np.float32(1.01))


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (lambda _: compile_booster(train(3, 3, 4, seed=1)[0]), "kernel's values are .* off the values in float64"),
        (one_number, r"kernel's values are [1-9]\.\de-0[12] "),
        (of_rows_alone, "values (of rows alone )?are"),
        (lambda compiled: replace(compiled, start=compiled.start + np.float32(1e-3)), ""),
    ],
    ids=["another model's", "one number", "rows alone", "the margin"],
)  # fmt: skip
def test_wrong_tables_are_found_and_xgboost_is_used(
    library: Library,
    tested: ModelUnderTest,
    compiled: Compiled,
    damaged: Callable[[Compiled], Compiled],
    said: str,
) -> None:
    record = verify_values(tested, damaged(compiled), None)
    assert record.engine == XGBOOST
    assert re.search(said, record.reason or ""), record.reason
    # Other kernels than AVX512 use the factors for blocks of rows, too.
    if damaged is of_rows_alone and library.kernels()[0] is Kernel.AVX512:
        assert "alone" in (record.reason or "")
    assert record.difference is not None  # XGBoost's own
    assert record.difference <= 1e-6


def test_float64_decides_against_xgboost_and_against_both(
    tested: ModelUnderTest, compiled: Compiled, best: str
) -> None:
    wrong = with_predictor(tested, WrongValues)
    record = verify_values(wrong, compiled, None)
    assert (record.engine, record.reason) == (best, None)
    neither = verify_values(wrong, one_number(compiled), None)
    assert neither.engine is None
    first, second = (neither.reason or "").split("; ")
    assert "kernel's values" in first
    assert second.startswith("XGBoost's values are ")
    assert second.endswith("off the values in float64")
    uncovered = verify_values(wrong, None, "the kernels are not built")
    assert (uncovered.reason or "").startswith("the kernels are not built; XGBoost's values are ")
    none = verify_values(with_predictor(tested, NoNumbers), None, None)
    assert none.engine is None
    assert "inf" in (none.reason or "")


def test_wrong_or_missing_interactions_of_one_engine_leave_them_to_the_other(
    tested: ModelUnderTest, compiled: Compiled, best: str
) -> None:
    record = verify_interactions(tested, of_rows_alone(compiled), None)
    assert record.engine == XGBOOST
    assert "kernel's interactions are" in (record.reason or "")
    for kind, said in (
        (WrongInteractions, "not compiled; XGBoost's interactions are "),
        (Limited, "XGBoost gives no interactions of this model"),
    ):
        wrong = with_predictor(tested, kind)
        by_kernel = verify_interactions(wrong, compiled, None)
        assert (by_kernel.engine, by_kernel.reason) == (best, None)
        refused = verify_interactions(wrong, None, "not compiled")
        assert refused.engine is None
        assert (refused.reason or "").startswith(said)
        assert verify_values(wrong, None, None).engine == XGBOOST


def test_what_is_too_much_for_a_request_or_for_the_kernel_is_said(
    tested: ModelUnderTest, compiled: Compiled, best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "MOST_NUMBERS", 24)
    for some in (compiled, None):
        record = verify_interactions(tested, some, None)
        assert record.engine is None
        assert record.reason == "one row's interactions are 25 numbers, more than 24"
    monkeypatch.setattr(values, "MOST_NUMBERS", 25)
    assert verify_interactions(tested, compiled, None).engine == best
    monkeypatch.setattr(pairs, "MOST_PAIRS", 3)
    record = verify_interactions(tested, compiled, None)
    assert (record.engine, record.reason) == (XGBOOST, "more than 3 pairs of its features meet on a path")


def test_a_path_beyond_xgboosts_quadrature_is_compared_with_float64(library: Library, best: str) -> None:
    """XGBoost is exact for eight features on a path, so not for this model; ours are."""
    booster = load(document_with([chain(24, 2.0)], 24))
    check_right(verify_values(model_under_test(booster, library), compile_booster(booster), None), best)


def test_linear_models_and_models_without_trees_are_explained(library: Library, best: str) -> None:
    booster, _ = train(0, 5, 4, booster="gblinear", objective="multi:softprob", num_class=3)
    tested = model_under_test(booster, library)
    assert tested.forest is None
    assert "has no trees" in tested.unread
    check_right(verify_values(tested, None, tested.unread), XGBOOST, reason=tested.unread)
    assert verify_values(with_predictor(tested, WrongValues), None, None).engine is None
    booster, _ = train(3, 0, 4, base_score=0.25)
    for verify in (verify_values, verify_interactions):
        assert verify(model_under_test(booster, library), compile_booster(booster), None).engine == best


def test_trial_rows_hold_thresholds_their_neighbours_codes_and_missing_values(library: Library) -> None:
    booster, _ = train(4, 5, 3, categories=40, max_cat_to_onehot=1)
    tested = model_under_test(booster, library)
    rows = tested.rows
    assert len(rows) == 300
    assert np.isnan(rows[0]).all()
    assert np.isnan(rows).any(axis=0).all()
    codes = rows[~np.isnan(rows[:, 0]), 0]
    assert (codes == np.trunc(codes)).all()
    assert len(set(codes.tolist())) > 30
    thresholds = {
        np.float32(tree["split_conditions"][node])
        for tree in document_of(booster)["learner"]["gradient_booster"]["model"]["trees"]
        for node, feature in enumerate(tree["split_indices"])
        if tree["left_children"][node] >= 0 and feature == 1
    }
    assert thresholds
    assert thresholds <= {*rows[:, 1]}
