"""Which engine is chosen for values and interactions, and the reasons against a wrong one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import EngineError
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.models.activation.compilation import compile_booster
from shared.models.activation.records import XGBOOST
from shared.models.activation.verification import values
from shared.models.activation.verification.model_under_test import ModelUnderTest
from shared.models.activation.verification.values import verify_interactions, verify_values
from shared.treeshap import pairs
from shared.treeshap.layout import ONLY_TABLES
from shared.treeshap.library import Kernel, Library
from tests.support.activated import model_under_test
from tests.unit.shared.treeshap.boosters import (
    Floats,
    document_with,
    interactions,
    load,
    train,
    tree_document,
)
from tests.unit.shared.treeshap.test_exactness import KINDS


class WrongValues(XGBoostEngine):
    """XGBoost, if its first feature took from the second."""

    def explain(self, rows: Floats) -> Explanation:
        got = super().explain(rows)
        got.values[:, :, 0] += 0.01
        got.values[:, :, 1] -= 0.01
        return got


class WrongInteractions(XGBoostEngine):
    """XGBoost, if its first two features shared too much, without effect on the sums."""

    def interactions(self, rows: Floats, explanation: Explanation, wanted: Interactions) -> Floats:
        got = super().interactions(rows, explanation, wanted)
        for one, other, more in ((0, 0, -0.01), (1, 1, -0.01), (0, 1, 0.01), (1, 0, 0.01)):
            got[:, :, one, other] += more
        return got


class Limited(XGBoostEngine):
    """XGBoost, if it could not give interactions of a model."""

    def interactions(self, rows: Floats, explanation: Explanation, wanted: Interactions) -> Floats:
        del rows, explanation, wanted
        raise EngineError("XGBoost cannot explain this model: not supported")


def with_predictor(tested: ModelUnderTest, kind: type[XGBoostEngine]) -> ModelUnderTest:
    predictor = kind(tested.booster, len(tested.contract.outputs))
    return replace(tested, predictor=predictor, explanation=predictor.explain(tested.rows))


def best_kernel(library: Library) -> str:
    return library.kernels()[0].engine


@pytest.mark.parametrize("kind", KINDS)
def test_right_tables_and_kernels_are_used(library: Library, kind: str) -> None:
    booster, _ = train(trees=3, **KINDS[kind])
    tested, compiled = model_under_test(booster, library), compile_booster(booster)
    for record in (verify_values(tested, compiled, None), verify_interactions(tested, compiled, None)):
        assert (record.engine, record.reason) == (best_kernel(library), None)
        assert record.difference is not None
        assert record.residual is not None
        assert 0 <= record.difference <= 1e-6
        assert 0 <= record.residual <= 5e-6
        assert record.row_microseconds is not None
        assert record.row_microseconds >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_without_tables_xgboost_is_found_right_and_the_reason_is_kept(library: Library, kind: str) -> None:
    booster, _ = train(trees=3, **KINDS[kind])
    tested = model_under_test(booster, library)
    for record in (
        verify_values(tested, None, "too odd for tables"),
        verify_interactions(tested, None, "too odd for tables"),
    ):
        assert (record.engine, record.reason) == (XGBOOST, "too odd for tables")
        assert record.difference is not None
        assert record.difference <= 1e-5


def test_the_tables_of_another_model_are_found(library: Library) -> None:
    booster, _ = train(3, 3, 4)
    other, _ = train(3, 3, 4, seed=1)
    record = verify_values(model_under_test(booster, library), compile_booster(other), None)
    assert record.engine == XGBOOST
    assert "kernel's values are" in (record.reason or "")
    assert "off the values in float64" in (record.reason or "")


def test_one_wrong_number_in_a_table_is_found_and_how_far_off_it_is(library: Library) -> None:
    booster, _ = train(3, 3, 4)
    compiled = compile_booster(booster)
    tested = model_under_test(booster, library)
    trees, tables = compiled.trees.copy(), compiled.tables.copy()
    trees["has_tables"] = ONLY_TABLES  # some kernels prefer quadrature where there is a choice
    tables[int(np.flatnonzero(tables)[0])] += np.float32(0.5)
    record = verify_values(tested, replace(compiled, trees=trees, tables=tables), None)
    name = library.kernels()[0].name
    assert record.engine == XGBOOST
    assert (record.reason or "").startswith(f"the {name} kernel's values are ")
    off = float((record.reason or "").split(" are ")[1].split()[0])
    assert 0.01 < off < 1
    assert record.difference is not None  # XGBoost's own
    assert record.difference <= 1e-6


def test_tables_that_are_wrong_for_rows_alone_are_found(library: Library) -> None:
    booster, _ = train(3, 3, 4)
    compiled = compile_booster(booster)
    assert (compiled.trees["has_tables"] & (compiled.trees["factors"] >= 0)).all()
    tested = model_under_test(booster, library)
    wrong = replace(compiled, factors=compiled.factors * np.float32(1.01))
    record = verify_values(tested, wrong, None)
    # Other kernels than AVX512 use the factors for blocks of rows, too.
    of_rows = "values of rows alone are" if library.kernels()[0] is Kernel.AVX512 else "values are"
    assert record.engine == XGBOOST
    assert of_rows in (record.reason or "")


def test_a_wrong_margin_is_found(library: Library) -> None:
    booster, _ = train(3, 3, 4)
    compiled = compile_booster(booster)
    record = verify_values(
        model_under_test(booster, library), replace(compiled, start=compiled.start + np.float32(1e-3)), None
    )
    assert record.engine == XGBOOST


def test_float64_decides_against_xgboost(library: Library) -> None:
    booster, _ = train(3, 3, 4)
    tested = with_predictor(model_under_test(booster, library), WrongValues)
    record = verify_values(tested, compile_booster(booster), None)
    assert (record.engine, record.reason) == (best_kernel(library), None)


def test_if_neither_engine_is_right_none_is_used_and_both_reasons_are_given(library: Library) -> None:
    booster, _ = train(3, 3, 4)
    other, _ = train(3, 3, 4, seed=1)
    tested = with_predictor(model_under_test(booster, library), WrongValues)
    record = verify_values(tested, compile_booster(other), None)
    assert record.engine is None
    first, second = (record.reason or "").split("; ")
    assert "kernel's values" in first
    assert second.startswith("XGBoost's values are ")
    assert second.endswith("off the values in float64")
    uncovered = verify_values(tested, None, "the kernels are not built")
    assert (uncovered.reason or "").startswith("the kernels are not built; XGBoost's values are ")


def test_numbers_that_are_none_are_found(library: Library) -> None:
    class NoNumbers(XGBoostEngine):
        def explain(self, rows: Floats) -> Explanation:
            got = super().explain(rows)
            got.values[5:6, :, 0] = np.nan
            return got

    booster, _ = train(3, 3, 4)
    record = verify_values(with_predictor(model_under_test(booster, library), NoNumbers), None, None)
    assert record.engine is None
    assert "inf" in (record.reason or "")


def test_wrong_interactions_of_the_kernel_leave_them_to_xgboost_and_the_values_where_they_are(
    library: Library,
) -> None:
    booster, _ = train(4, 3, 6)
    tested, compiled = model_under_test(booster, library), compile_booster(booster)
    altered = replace(compiled, factors=compiled.factors * np.float32(1.01))
    record = verify_interactions(tested, altered, None)
    assert record.engine == XGBOOST
    assert "kernel's interactions are" in (record.reason or "")
    assert verify_values(tested, compiled, None).engine == best_kernel(library)


def test_wrong_interactions_of_xgboost_refuse_only_interactions(library: Library) -> None:
    booster, _ = train(4, 3, 6)
    tested = with_predictor(model_under_test(booster, library), WrongInteractions)
    record = verify_interactions(tested, None, "not compiled")
    assert record.engine is None
    assert (record.reason or "").startswith("not compiled; XGBoost's interactions are ")
    assert verify_values(tested, None, None).engine == XGBOOST


def test_float64_decides_against_xgboosts_interactions(library: Library) -> None:
    booster, _ = train(4, 3, 6)
    tested = with_predictor(model_under_test(booster, library), WrongInteractions)
    record = verify_interactions(tested, compile_booster(booster), None)
    assert (record.engine, record.reason) == (best_kernel(library), None)


def test_the_kernel_gives_interactions_of_a_model_for_which_xgboost_has_none(library: Library) -> None:
    booster, _ = train(4, 3, 6)
    tested = with_predictor(model_under_test(booster, library), Limited)
    record = verify_interactions(tested, compile_booster(booster), None)
    assert (record.engine, record.reason) == (best_kernel(library), None)
    record = verify_interactions(tested, None, "the kernels are not built")
    assert record.engine is None
    assert "XGBoost gives no interactions of this model" in (record.reason or "")


def test_more_numbers_than_a_request_may_have_are_refused_on_any_engine(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    booster, _ = train(4, 3, 6)
    tested, compiled = model_under_test(booster, library), compile_booster(booster)
    monkeypatch.setattr(values, "MOST_NUMBERS", 48)
    for some in (compiled, None):
        record = verify_interactions(tested, some, None)
        assert record.engine is None
        assert record.reason == "one row's interactions are 49 numbers, more than 48"
    monkeypatch.setattr(values, "MOST_NUMBERS", 49)
    assert verify_interactions(tested, compiled, None).engine == best_kernel(library)


def test_what_the_kernel_does_not_hold_is_xgboosts_with_the_reason(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    booster, _ = train(4, 3, 6)
    monkeypatch.setattr(pairs, "MOST_PAIRS", 3)
    record = verify_interactions(model_under_test(booster, library), compile_booster(booster), None)
    assert (record.engine, record.reason) == (XGBOOST, "more than 3 pairs of its features meet on a path")


def test_a_path_beyond_xgboosts_quadrature_is_compared_with_float64(library: Library) -> None:
    """XGBoost is exact for eight features on a path, so not for this model; ours are."""
    depth = 24
    splits = {2**level - 1: (level, 0.0, False) for level in range(depth)}
    leaves = {2**level: 1.0 + level % 5 for level in range(1, depth + 1)} | {2**depth - 1: 7.0}
    covers = {2**level - 1: 2.0 ** (depth - level) for level in range(depth + 1)}
    covers |= {2**level: 2.0 ** (depth - level) for level in range(1, depth + 1)}
    booster = load(document_with([tree_document(splits, leaves, covers, depth)], depth))
    record = verify_values(model_under_test(booster, library), compile_booster(booster), None)
    assert record.engine == best_kernel(library)
    assert record.difference is not None
    assert record.difference <= 1e-6


def test_a_linear_model_is_xgboosts_and_its_values_are_worked_out(library: Library) -> None:
    booster, _ = train(0, 5, 4, booster="gblinear", objective="multi:softprob", num_class=3)
    tested = model_under_test(booster, library)
    assert tested.forest is None
    assert "has no trees" in tested.unread
    record = verify_values(tested, None, tested.unread)
    assert (record.engine, record.reason) == (XGBOOST, tested.unread)
    assert record.difference is not None
    assert record.difference <= 1e-6
    wrong = verify_values(with_predictor(tested, WrongValues), None, None)
    assert wrong.engine is None


def test_a_model_without_trees_is_compiled_with_interactions(library: Library) -> None:
    booster, _ = train(3, 0, 4, base_score=0.25)
    tested, compiled = model_under_test(booster, library), compile_booster(booster)
    assert verify_values(tested, compiled, None).engine == best_kernel(library)
    assert verify_interactions(tested, compiled, None).engine == best_kernel(library)


def test_trial_rows_hold_thresholds_their_neighbours_codes_and_missing_values(library: Library) -> None:
    booster, _ = train(4, 5, 3, categories=40, max_cat_to_onehot=1)
    rows = model_under_test(booster, library).rows
    assert len(rows) == 300
    assert np.isnan(rows[0]).all()
    assert np.isnan(rows).any(axis=0).all()
    codes = rows[~np.isnan(rows[:, 0]), 0]
    assert (codes == np.trunc(codes)).all()
    assert len(set(codes.tolist())) > 30
    document = json.loads(bytes(booster.save_raw("json")))
    trees = document["learner"]["gradient_booster"]["model"]["trees"]
    thresholds = {
        np.float32(value)
        for tree in trees
        for feature, value, left in zip(
            tree["split_indices"], tree["split_conditions"], tree["left_children"], strict=True
        )
        if left >= 0 and feature == 1
    }
    assert thresholds
    assert thresholds <= {*rows[:, 1]}


def test_the_wrong_engines_of_these_tests_are_wrong(library: Library) -> None:
    booster, _ = train(4, 3, 6)
    tested = with_predictor(model_under_test(booster, library), WrongInteractions)
    rows = tested.rows[:3]
    got = tested.predictor.interactions(rows, tested.explanation[:3], Interactions())
    assert not np.allclose(got, interactions(booster, rows), atol=1e-4)
    np.testing.assert_allclose(got.sum(axis=3), tested.explanation[:3].contributions, atol=1e-5)
