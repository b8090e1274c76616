"""Wrong tables against a background are found, wherever they are wrong."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from shared.engines.xgboost_engine import XGBoostEngine
from shared.models.activation.compilation import compile_booster
from shared.models.activation.verification.tables import TRIAL_TREES, try_tables
from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.forest import Forest, NotCoveredError, read_forest
from shared.treeshap.interventional import against_background
from shared.treeshap.library import Library
from tests.support.boosters import Floats, train

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
    def of(cls, booster: Any, background: Floats, library: Library) -> "Tried":
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


def base_moved(compiled: Compiled, _: Floats) -> Compiled:
    return replace(compiled, base=compiled.base + np.float32(1e-3))


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


def tables_doubled(compiled: Compiled, _: Floats) -> Compiled:
    damaged = replace(compiled, nodes=compiled.nodes.copy())
    nodes = nodes_of(damaged)
    nodes["table"][nodes["table"] >= 0] = nodes["table"].max()
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
        (base_moved, "sum"),
        (base_moved_to_values, "base value"),
        (margin_moved, "margin"),
        (columns_swapped, "kernel's (sum|margin)"),
        (tables_doubled, "kernel's (sum|margin)"),
        (given_to_one_and_taken_from_another, "mean over the background"),
    ],
)
def test_what_is_wrong_is_found(
    tried: Tried, damaged: Callable[[Compiled, Floats], Compiled], said: str
) -> None:
    with pytest.raises(NotCoveredError, match=said):
        tried.attempt(damaged(tried.compiled, tried.background))
