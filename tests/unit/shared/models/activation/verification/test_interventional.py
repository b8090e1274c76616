"""Which engine is found right for interventional values: tables, shap, or none."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.engines.shap_engine import ShapEngine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import ModelFaultError
from shared.explanation import Explanation
from shared.models.activation.compilation import compile_booster
from shared.models.activation.records import SHAP
from shared.models.activation.verification import interventional
from shared.models.activation.verification.exact_interventional import values_of_tree
from shared.models.activation.verification.interventional import read_background, verify_shap, verify_tables
from shared.models.version import read_version
from shared.treeshap.explainer import Explainer
from shared.treeshap.forest import NotCoveredError
from shared.treeshap.library import Library
from tests.support.activated import add_model, model_under_test
from tests.unit.shared.treeshap.boosters import Floats, train
from tests.unit.shared.treeshap.test_interventional import KINDS, by_definition

DEEP: dict[str, Any] = {"depth": 10, "trees": 3, "features": 12, "min_child_weight": 0}


@pytest.mark.parametrize("kind", KINDS)
def test_right_tables_are_used(library: Library, kind: str) -> None:
    booster, x = train(trees=3, **KINDS[kind])
    background = x[50:80]
    tested = model_under_test(booster, library)
    record, tables = verify_tables(tested, compile_booster(booster), background)
    assert (record.engine, record.reason) == (library.kernels()[0].engine, None)
    assert record.difference is not None
    assert record.residual is not None
    assert 0 <= record.difference <= 2e-6
    assert 0 <= record.residual <= 1e-5
    rows = x[[0, 300]]
    wanted = by_definition(booster, rows, background, tables.outputs)
    got = Explainer(tables, library).explain(rows).values
    assert np.abs(got - wanted).max() <= 5e-7 * (1 + np.abs(wanted).max())


def test_a_model_that_is_not_compiled_has_no_tables(library: Library) -> None:
    booster, x = train(3, 2, 3)
    with pytest.raises(NotCoveredError, match="the model itself is not compiled"):
        verify_tables(model_under_test(booster, library), None, x[:9])


def test_tables_of_another_model_are_not_used(library: Library) -> None:
    booster, x = train(3, 3, 4)
    other, _ = train(3, 3, 4, seed=1)
    with pytest.raises(NotCoveredError, match=r"against the background, the .* off"):
        verify_tables(model_under_test(booster, library), compile_booster(other), x[:9])


def test_shap_is_accepted_for_a_deep_model_and_equal_to_the_definition(library: Library) -> None:
    booster, x = train(**DEEP)
    background = x[50:62]
    tested = model_under_test(booster, library)
    with pytest.raises(NotCoveredError, match="too deep for tables"):
        verify_tables(tested, compile_booster(booster), background)
    record = verify_shap(tested, background)
    assert (record.engine, record.reason) == (SHAP, None)
    assert record.difference is not None
    assert record.residual is not None
    assert max(record.difference, record.residual) <= 1e-5
    assert (record.row_microseconds or 0) > 0
    rows = x[:2]
    got = ShapEngine(tested.predictor, background, 1).explain(rows).values[:, 0]
    assert tested.forest is not None
    wanted = np.array(
        [sum(values_of_tree(tree, row, background) for tree in tested.forest.trees) for row in rows]
    )
    assert np.abs(got - wanted).max() <= 1e-5 * (1 + np.abs(wanted).max())


def test_shap_is_refused_for_deep_dart_models_whose_weights_it_does_not_read(library: Library) -> None:
    booster, x = train(**DEEP, booster="dart", rate_drop=0.6, one_drop=1)
    record = verify_shap(model_under_test(booster, library), x[50:62])
    assert record.engine is None
    off = float((record.reason or "").removeprefix("shap's values are ").split()[0])
    assert off > 1e-3
    assert (record.reason or "").endswith("off the margin")


def test_shap_is_refused_for_deep_models_with_categories_with_its_reason(library: Library) -> None:
    booster, x = train(**DEEP, categories=40, max_cat_to_onehot=1)
    tested = model_under_test(booster, library)
    with pytest.raises(NotCoveredError, match="too deep for tables"):
        verify_tables(tested, compile_booster(booster), x[50:62])
    record = verify_shap(tested, x[50:62])
    assert record.engine is None
    assert "categor" in (record.reason or "").lower()


def test_a_linear_model_has_no_interventional_values(library: Library) -> None:
    booster, x = train(0, 2, 3, booster="gblinear")
    record = verify_shap(model_under_test(booster, library), x[:9])
    assert record.engine is None
    assert "gblinear has no trees" in (record.reason or "")


def wrong_shap(monkeypatch: pytest.MonkeyPatch, *, moved: float, added: float = 0.0) -> None:
    """Have shap give one feature what it takes from another, or more than there is."""

    class WrongShap(ShapEngine):
        def explain(self, rows: Floats) -> Explanation:
            got = super().explain(rows)
            got.values[:, :, 0] += moved + added
            got.values[:, :, 1] -= moved
            return got

    monkeypatch.setattr(interventional, "ShapEngine", WrongShap)


def test_values_of_shap_that_add_up_and_are_wrong_are_found(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_shap(monkeypatch, moved=0.01)
    booster, x = train(**DEEP)
    record = verify_shap(model_under_test(booster, library), x[50:62])
    assert record.engine is None
    assert "shap's values are" in (record.reason or "")
    assert "off the values in float64" in (record.reason or "")
    assert (record.difference or 0) > 1e-4


def test_sums_of_shap_that_are_wrong_are_found_where_the_definition_takes_too_long(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interventional, "EXACT_SECONDS", -1.0)
    booster, x = train(**DEEP)
    tested = model_under_test(booster, library)
    right = verify_shap(tested, x[50:62])
    assert (right.engine, right.difference) == (SHAP, None)
    wrong_shap(monkeypatch, moved=0.0, added=0.01)
    record = verify_shap(tested, x[50:62])
    assert record.engine is None
    assert "off the margin" in (record.reason or "")


def test_a_wrong_base_value_of_shap_is_found(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    class WrongBase(ShapEngine):
        def explain(self, rows: Floats) -> Explanation:
            got = super().explain(rows)
            got.base_values[:] += 0.01
            got.values[:, :, 0] -= 0.01
            return got

    monkeypatch.setattr(interventional, "ShapEngine", WrongBase)
    booster, x = train(**DEEP)
    record = verify_shap(model_under_test(booster, library), x[50:62])
    assert record.engine is None
    assert "off the margin" in (record.reason or "")


def test_what_breaks_in_shap_is_a_reason(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ShapEngine):
        def explain(self, rows: Floats) -> Explanation:
            raise ZeroDivisionError(f"{len(rows)} rows")

    monkeypatch.setattr(interventional, "ShapEngine", Broken)
    booster, x = train(**DEEP)
    record = verify_shap(model_under_test(booster, library), x[50:62])
    assert record.engine is None
    assert (record.reason or "").startswith("shap breaks: ZeroDivisionError")


def test_background_rows_are_those_that_the_contract_names(tmp_path: Path) -> None:
    booster, x = train(3, 2, 3)
    version = add_model(tmp_path, booster, background=x[:9])
    np.testing.assert_array_equal(read_background(version), x[:9])
    assert version.background_path is not None
    np.save(version.background_path, x[1:10])
    with pytest.raises(ModelFaultError, match=r"background\.npy was altered"):
        read_background(version)
    shutil.rmtree(version.folder)
    plain = add_model(tmp_path, booster)
    with pytest.raises(ModelFaultError, match="no background rows"):
        read_background(read_version(plain.folder))


def test_background_rows_of_another_width_are_refused(tmp_path: Path) -> None:
    booster, x = train(3, 2, 3)
    version = add_model(tmp_path, booster, background=x[:9])
    features = version.contract.features[:2]
    narrow = replace(version, contract=replace(version.contract, features=features))
    with pytest.raises(ModelFaultError, match="not one column for each feature"):
        read_background(narrow)


def test_a_wrong_margin_of_xgboost_is_found_against_tables(library: Library) -> None:
    class WrongMargins(XGBoostEngine):
        def margins(self, rows: Floats) -> Floats:
            return super().margins(rows) + np.float32(0.01)

    booster, x = train(3, 3, 4)
    tested = model_under_test(booster, library)
    tested = replace(tested, predictor=WrongMargins(booster, 1))
    with pytest.raises(NotCoveredError, match="margin is"):
        verify_tables(tested, compile_booster(booster), x[:9])
