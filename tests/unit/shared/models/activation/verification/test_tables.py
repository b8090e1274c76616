import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from shared.engines.xgboost_engine import XGBoostEngine
from shared.models.activation.compilation import compile_booster
from shared.models.activation.verification.exact_interventional import values_of_tree
from shared.models.activation.verification.tables import TRIAL_TREES, try_tables
from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.forest import Forest, NotCoveredError, read_forest
from shared.treeshap.interventional import against_background
from shared.treeshap.library import Library
from tests.unit.shared.treeshap.boosters import Floats, train
from tests.unit.shared.treeshap.test_interventional import KINDS, by_definition

#: More trees than have their values compared one by one.
TREES = 3 * TRIAL_TREES


@dataclass(frozen=True)
class Tried:
    compiled: Compiled
    forest: Forest
    predictor: XGBoostEngine
    background: Floats
    library: Library

    def fault(self, compiled: Compiled) -> str:
        with pytest.raises(NotCoveredError) as refused:
            try_tables(compiled, self.forest, self.predictor, self.background, self.library)
        return str(refused.value)


@pytest.fixture(scope="module")
def tried(library: Library) -> Tried:
    booster, x = train(3, TREES, 5)
    background = x[50:90]
    compiled = against_background(compile_booster(booster), background)
    forest = read_forest(bytes(booster.save_raw("ubj")))
    return Tried(compiled, forest, XGBoostEngine(booster, 1), background, library)


@pytest.mark.parametrize("kind", KINDS)
def test_the_definition_leaf_by_leaf_is_that_of_all_subsets(library: Library, kind: str) -> None:
    del library
    booster, x = train(trees=3, **KINDS[kind])
    rows, background = x[[0, 1, 300]], x[50:54]
    forest = read_forest(bytes(booster.save_raw("ubj")))
    wanted = by_definition(booster, rows, background, forest.outputs)
    got = np.zeros_like(wanted)
    for tree in forest.trees:
        got[:, tree.output] += [values_of_tree(tree, row, background) for row in rows]
    np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_right_tables_pass(tried: Tried) -> None:
    try_tables(tried.compiled, tried.forest, tried.predictor, tried.background, tried.library)


def test_single_leaves_pass(library: Library) -> None:
    booster, x = train(3, 2, 4, gamma=1e9)
    compiled = against_background(compile_booster(booster), x)
    forest = read_forest(bytes(booster.save_raw("ubj")))
    try_tables(compiled, forest, XGBoostEngine(booster, 1), x, library)


def test_tables_against_other_rows_are_found_though_they_are_as_good_for_those(tried: Tried) -> None:
    others = tried.background.copy()
    others[0] = others[1]
    assert "value of tree" in tried.fault(against_background(tried.compiled, others))


def test_one_wrong_number_in_a_tree_is_found(tried: Tried) -> None:
    tables = tried.compiled.tables.copy()
    tables[: len(tables) // TREES] *= np.float32(1.001)
    assert "value of tree 0" in tried.fault(replace(tried.compiled, tables=tables))


def test_a_wrong_base_value_is_found(tried: Tried) -> None:
    base = tried.compiled.base + np.float32(1e-3)
    assert "sum" in tried.fault(replace(tried.compiled, base=base))


def test_a_wrong_base_value_that_the_values_make_up_for_is_found(tried: Tried) -> None:
    tables = tried.compiled.tables.copy()
    tree = tried.compiled.trees[1]  # not tried one by one
    node = tried.compiled.nodes[tree["first"] : tree["first"] + tree["nodes"]]["table"].max()
    tables[node * layout.TABLE_ROW : (node + 1) * layout.TABLE_ROW] -= np.float32(1e-3)
    altered = replace(tried.compiled, base=tried.compiled.base + np.float32(1e-3), tables=tables)
    assert "base value" in tried.fault(altered)


def test_a_wrong_margin_is_found(tried: Tried) -> None:
    start = tried.compiled.start + np.float32(1e-3)
    assert "margin" in tried.fault(replace(tried.compiled, start=start))


def swap_columns(nodes: Any) -> None:
    nodes["column"] = (nodes["column"] + 1) % 5


def double_tables(nodes: Any) -> None:
    nodes["table"][nodes["table"] >= 0] = nodes["table"].max()


@pytest.mark.parametrize("damage", [swap_columns, double_tables])
def test_what_is_wrong_in_trees_that_are_not_tried_one_by_one_is_found_in_the_sums(
    tried: Tried, damage: Callable[[Any], None]
) -> None:
    nodes = tried.compiled.nodes.copy()
    tree = tried.compiled.trees[1]  # the first and the fourth are tried
    damage(nodes[tree["first"] : tree["first"] + tree["nodes"]])
    assert re.search("kernel's (sum|margin)", tried.fault(replace(tried.compiled, nodes=nodes)))


def test_what_such_trees_give_one_feature_and_take_from_another_is_found_in_the_means(tried: Tried) -> None:
    tables = tried.compiled.tables.copy()
    tree = tried.compiled.trees[1]
    nodes = tried.compiled.nodes[tree["first"] : tree["first"] + tree["nodes"]]
    node = nodes[(nodes["table"] >= 0) & (nodes["above"] == 2)][0]
    at = int(node["table"]) * layout.TABLE_ROW
    tables[at : at + layout.TABLE_ROW] += np.float32(1e-3)
    tables[at + layout.TABLE_ROW : at + 2 * layout.TABLE_ROW] -= np.float32(1e-3)
    assert "mean over the background" in tried.fault(replace(tried.compiled, tables=tables))
