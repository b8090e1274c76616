"""docs/methods.md lists every kind of model: each offered method is exact."""

from __future__ import annotations

import pytest

from shared.treeshap.library import find_library
from tests.support.method_table.page import generated, verdicts_of, written, wrong_cells
from tests.support.method_table.sweep import judge_all
from tests.support.method_table.trained_kinds import every_kind, objectives_of_xgboost


@pytest.mark.skipif(find_library() is None, reason="the kernels are not built: no C compiler")
def test_every_kind_is_explained_exactly_or_refused_and_the_page_says_which() -> None:
    found = judge_all()
    assert wrong_cells(found) == []
    assert verdicts_of(written()) == verdicts_of(generated(found)), (
        "run python -m tests.support.method_table --write"
    )


def test_every_objective_of_xgboost_is_among_the_kinds() -> None:
    objectives = objectives_of_xgboost()
    assert {"reg:squarederror", "survival:aft", "rank:map", "multi:softprob"} <= objectives
    assert {kind.objective for kind in every_kind()} == objectives
