"""The engine that is found right for interventional values, and wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.engines.shap_engine import ShapEngine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import ModelFaultError
from shared.explanation import Explanation
from shared.models.activation.compilation import compile_booster
from shared.models.activation.records import SHAP, MethodRecord
from shared.models.activation.verification import interventional
from shared.models.activation.verification.interventional import read_background, verify_shap, verify_tables
from shared.models.activation.verification.model_under_test import ModelUnderTest
from shared.models.activation.verification.tables import TRIAL_TREES, try_tables
from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.forest import Forest, NotCoveredError, read_forest
from shared.treeshap.interventional import against_background
from shared.treeshap.library import Library
from tests.support.activated import add_model, model_under_test
from tests.support.boosters import Floats, train
from tests.support.shapley import WITH_BACKGROUND

DEEP: dict[str, Any] = {"depth": 10, "trees": 3, "features": 12, "min_child_weight": 0}


@pytest.fixture(scope="module")
def deep(library: Library) -> tuple[ModelUnderTest, Floats]:
    """Train a model that is too deep for tables; give some background rows, too."""
    booster, x = train(**DEEP)
    return model_under_test(booster, library), x[50:62]


def check_right(record: MethodRecord, engine: str) -> None:
    assert (record.engine, record.reason) == (engine, None)
    assert record.difference is not None
    assert record.residual is not None
    assert 0 <= record.difference <= (1e-5 if engine == SHAP else 2e-6)
    assert 0 <= record.residual <= 1e-5


#: More trees than have their values compared one by one.
TREES = 3 * TRIAL_TREES


@dataclass(frozen=True)
class Tried:
    compiled: Compiled
    forest: Forest
    predictor: XGBoostEngine
    background: Floats
    library: Library

    @classmethod
    def of(cls, booster: Any, background: Floats, library: Library) -> Tried:
        compiled = against_background(compile_booster(booster), background)
        forest = read_forest(bytes(booster.save_raw("ubj")))
        return cls(compiled, forest, XGBoostEngine(booster, 1), background, library)

    def attempt(self, compiled: Compiled) -> None:
        try_tables(compiled, self.forest, self.predictor, self.background, self.library)


@pytest.fixture(scope="module")
def tried(library: Library) -> Tried:
    booster, x = train(3, TREES, 5)
    return Tried.of(booster, x[50:90], library)


def test_right_tables_and_single_leaves_pass(tried: Tried, library: Library) -> None:
    tried.attempt(tried.compiled)
    booster, x = train(3, 2, 4, gamma=1e9)
    leaves = Tried.of(booster, x, library)
    leaves.attempt(leaves.compiled)


def nodes_of(compiled: Compiled) -> Any:
    """Return the nodes of a tree that is not tried one by one: the first and the fourth are."""
    tree = compiled.trees[1]
    return compiled.nodes[tree["first"] : tree["first"] + tree["nodes"]]


def against_other_rows(compiled: Compiled, background: Floats) -> Compiled:
    others = background.copy()
    others[0] = others[1]
    return against_background(compiled, others)


def first_tree_scaled(compiled: Compiled, _: Floats) -> Compiled:
    tables = compiled.tables.copy()
    tables[: len(tables) // TREES] *= np.float32(1.001)
    return replace(compiled, tables=tables)


def base_moved_to_values(compiled: Compiled, _: Floats) -> Compiled:
    tables, node = compiled.tables.copy(), nodes_of(compiled)["table"].max()
    tables[node * layout.TABLE_ROW : (node + 1) * layout.TABLE_ROW] -= np.float32(1e-3)
    return replace(compiled, base=compiled.base + np.float32(1e-3), tables=tables)


def margin_moved(compiled: Compiled, _: Floats) -> Compiled:
    return replace(compiled, start=compiled.start + np.float32(1e-3))


def columns_swapped(compiled: Compiled, _: Floats) -> Compiled:
    damaged = replace(compiled, nodes=compiled.nodes.copy())
    nodes_of(damaged)["column"] = (nodes_of(damaged)["column"] + 1) % 5
    return damaged


def given_to_one_and_taken_from_another(compiled: Compiled, _: Floats) -> Compiled:
    tables, nodes = compiled.tables.copy(), nodes_of(compiled)
    at = int(nodes[(nodes["table"] >= 0) & (nodes["above"] == 2)][0]["table"]) * layout.TABLE_ROW
    tables[at : at + layout.TABLE_ROW] += np.float32(1e-3)
    tables[at + layout.TABLE_ROW : at + 2 * layout.TABLE_ROW] -= np.float32(1e-3)
    return replace(compiled, tables=tables)


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (against_other_rows, "value of tree"),
        (first_tree_scaled, "value of tree 0"),
        (base_moved_to_values, "base value"),
        (margin_moved, "margin"),
        (columns_swapped, "kernel's (sum|margin)"),
        (given_to_one_and_taken_from_another, "mean over the background"),
    ],
)
def test_what_is_wrong_in_tables_is_found(
    tried: Tried, damaged: Callable[[Compiled, Floats], Compiled], said: str
) -> None:
    with pytest.raises(NotCoveredError, match=said):
        tried.attempt(damaged(tried.compiled, tried.background))


class WrongMargins(XGBoostEngine):
    def margins(self, rows: Floats) -> Floats:
        return super().margins(rows) + np.float32(0.01)


def test_right_tables_are_used_and_wrong_ones_or_those_of_an_uncompiled_model_are_not(
    library: Library,
) -> None:
    for kind in ("eight bits", "several classes", "categories in a set"):
        booster, x = train(trees=3, **WITH_BACKGROUND[kind])
        record, _ = verify_tables(model_under_test(booster, library), compile_booster(booster), x[50:80])
        check_right(record, library.kernels()[0].engine)
    booster, x = train(3, 3, 4)
    tested, compiled = model_under_test(booster, library), compile_booster(booster)
    wrong = replace(tested, predictor=WrongMargins(booster, 1))
    of_another = compile_booster(train(3, 3, 4, seed=1)[0])
    for model, tables, said in (
        (tested, None, "the model itself is not compiled"),
        (tested, of_another, r"against the background, the .* off"),
        (wrong, compiled, "margin is"),
    ):
        with pytest.raises(NotCoveredError, match=said):
            verify_tables(model, tables, x[:9])


def test_shap_is_accepted_for_a_deep_model(
    deep: tuple[ModelUnderTest, Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    tested, background = deep
    with pytest.raises(NotCoveredError, match="too deep for tables"):
        verify_tables(tested, compile_booster(tested.booster), background)
    record = verify_shap(tested, background)
    check_right(record, SHAP)
    assert (record.row_microseconds or 0) > 0
    monkeypatch.setattr(interventional, "EXACT_SECONDS", -1.0)  # where the definition takes too long
    unknown = verify_shap(tested, background)
    assert (unknown.engine, unknown.difference) == (SHAP, None)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({**DEEP, "booster": "dart", "rate_drop": 0.6, "one_drop": 1}, "off the margin"),
        ({**DEEP, "categories": 40, "max_cat_to_onehot": 1}, "ategor"),
        ({"depth": 0, "trees": 2, "features": 3, "booster": "gblinear"}, "gblinear has no trees"),
    ],
    ids=["dart", "categories", "linear"],
)
def test_shap_is_refused_for_models_that_it_reads_wrongly(
    library: Library, how: dict[str, Any], said: str
) -> None:
    booster, x = train(**how)
    record = verify_shap(model_under_test(booster, library), x[50:62])
    assert record.engine is None
    assert said in (record.reason or "")


def moved(got: Explanation) -> None:
    got.values[:, :, 0] += 0.01
    got.values[:, :, 1] -= 0.01


def added(got: Explanation) -> None:
    got.values[:, :, 0] += 0.01


def based(got: Explanation) -> None:
    got.base_values[:] += 0.01
    got.values[:, :, 0] -= 0.01


def broken(got: Explanation) -> None:
    raise ZeroDivisionError(f"{len(got)} rows")


@pytest.mark.parametrize(
    ("change", "exact", "said"),
    [
        (moved, True, "off the values in float64"),
        (added, False, "off the margin"),
        (based, True, "off the margin"),
        (broken, True, "shap breaks: ZeroDivisionError"),
    ],
)
def test_what_is_wrong_in_shap_is_found(
    deep: tuple[ModelUnderTest, Floats],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Explanation], None],
    exact: bool,  # noqa: FBT001  # pytest calls it by name
    said: str,
) -> None:
    class WrongShap(ShapEngine):
        def explain(self, rows: Floats) -> Explanation:
            got = super().explain(rows)
            change(got)
            return got

    monkeypatch.setattr(interventional, "ShapEngine", WrongShap)
    if not exact:
        monkeypatch.setattr(interventional, "EXACT_SECONDS", -1.0)
    record = verify_shap(*deep)
    assert record.engine is None
    assert said in (record.reason or "")
    assert change is not moved or (record.difference or 0) > 1e-4


def test_background_rows_are_those_that_the_contract_names(tmp_path: Path) -> None:
    booster, x = train(3, 2, 3)
    version = add_model(tmp_path, booster, background=x[:9])
    np.testing.assert_array_equal(read_background(version), x[:9])
    narrow = replace(version, contract=replace(version.contract, features=version.contract.features[:2]))
    with pytest.raises(ModelFaultError, match="not one column for each feature"):
        read_background(narrow)
    assert version.background_path is not None
    np.save(version.background_path, x[1:10])
    with pytest.raises(ModelFaultError, match=r"background\.npy was altered"):
        read_background(version)
    with pytest.raises(ModelFaultError, match="no background rows"):
        read_background(add_model(tmp_path, booster, "plain"))
