"""docs/methods.md lists every kind of model: each offered method is exact."""

from __future__ import annotations

import pytest

from shared.treeshap.library import find_library
from tests.support.method_table.page import cells_of, generated, written, wrong_cells
from tests.support.method_table.sweep import judge_kinds
from tests.support.method_table.trained_kinds import SHALLOW, every_kind, objectives_of_xgboost

#: Objectives that are judged with every booster and depth; the others with the usual one. `make nightly` judges all.
WHOLE = {"reg:squarederror", "binary:logistic", "multi:softprob", "reg:quantileerror"}


@pytest.mark.skipif(find_library() is None, reason="the kernels are not built: no C compiler")
def test_models_are_explained_exactly_or_refused_and_the_page_says_which() -> None:
    kinds = [
        kind
        for kind in every_kind()
        if kind.objective in WHOLE or (kind.booster, kind.depth) == ("gbtree", SHALLOW)
    ]
    found = judge_kinds(kinds)
    assert wrong_cells(found) == []
    cells, page = cells_of(generated(found)), cells_of(written())
    assert len(cells) > 100
    for place, cell in cells.items():
        assert page[place] == cell, f"{place}: run python -m tests.support.method_table --write"


def test_every_objective_of_xgboost_is_among_the_kinds() -> None:
    objectives = objectives_of_xgboost()
    assert {"reg:squarederror", "survival:aft", "rank:map", "multi:softprob"} <= objectives
    assert {kind.objective for kind in every_kind()} == objectives
    assert {objective for _, objective, _ in cells_of(written())} == {
        f"`{kind.row}`" for kind in every_kind()
    }
