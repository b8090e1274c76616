import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.worker.lean_xgboost import import_xgboost
from services.worker.model_compilation import compare_with_xgboost, compile_booster
from shared.treeshap.compiler import compile_forest
from shared.treeshap.forest import NotCoveredError, read_forest
from shared.treeshap.library import Kernel, Library
from tests.unit.shared.treeshap.boosters import document_with, rows_of, train, tree_document

STUMP: dict[str, Any] = {
    "splits": {0: (0, 0.5, True)},
    "leaves": {1: 1.0, 2: 2.0},
    "covers": {0: 4.0, 1: 2.0, 2: 2.0},
}


def read(document: Any) -> Any:
    return read_forest(json.dumps(document).encode())


def test_a_linear_booster_is_not_covered() -> None:
    booster, _ = train(0, 2, 3, booster="gblinear")
    with pytest.raises(NotCoveredError, match="gblinear has no trees"):
        compile_booster(booster)


def test_leaves_with_a_value_for_each_output_are_not_covered() -> None:
    booster, _ = train(2, 2, 3, targets=2, multi_strategy="multi_output_tree")
    with pytest.raises(NotCoveredError, match="multi_output_tree"):
        compile_booster(booster)


def alter(name: str, value: Any) -> Callable[[Any], None]:
    return lambda tree: tree.update({name: value})


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (alter("sum_hessian", [4.0, -1.0, 2.0]), "cover"),
        (alter("split_conditions", [0.5, 1e39, 2.0]), "not finite"),
        (alter("split_indices", [7, 0, 0]), "no feature"),
        (alter("split_type", [1, 0, 0]), "categorical"),
        (alter("left_children", [1, -1]), "not understood|one length"),
        (lambda tree: tree.pop("sum_hessian"), "not understood: KeyError"),
    ],
)
def test_what_is_not_understood_is_named_and_not_covered(fault: Callable[[Any], None], reason: str) -> None:
    document = document_with([tree_document(**STUMP, features=2)], 2)
    read(document)
    fault(document["learner"]["gradient_booster"]["model"]["trees"][0])
    with pytest.raises(NotCoveredError, match=reason):
        read(document)


def test_what_is_no_models_document_is_not_covered() -> None:
    for content in (b"", b"[]", b"{}", b'{"learner": {"gradient_booster": {"name": "gbtree"}}}'):
        with pytest.raises(NotCoveredError):
            read_forest(content)


def test_a_path_of_more_features_than_the_kernels_hold_is_not_covered() -> None:
    depth = 33
    splits = {2**level - 1: (level, 0.0, False) for level in range(depth)}
    leaves = {2**level: 1.0 for level in range(1, depth + 1)} | {2**depth - 1: 7.0}
    covers = dict.fromkeys([*splits, *leaves], 1.0)
    forest = read(document_with([tree_document(splits, leaves, covers, depth)], depth))
    with pytest.raises(NotCoveredError, match="more than 32 different features"):
        compile_forest(forest, np.zeros(1, dtype=np.float32))


def test_a_start_that_is_not_finite_is_not_covered() -> None:
    forest = read(document_with([tree_document(**STUMP, features=2)], 2))
    for start in ([np.inf], [0.0, 0.0]):
        with pytest.raises(NotCoveredError, match="margins"):
            compile_forest(forest, np.array(start, dtype=np.float32))


def test_a_compiled_model_that_disagrees_with_xgboost_is_not_used(library: Library) -> None:
    booster, _ = train(3, 3, 4)
    other, _ = train(3, 3, 4, seed=1)
    compare_with_xgboost(compile_booster(booster), booster, library)
    with pytest.raises(NotCoveredError, match="apart"):
        compare_with_xgboost(compile_booster(other), booster, library)


def test_a_compiled_model_that_is_wrong_for_rows_alone_is_not_used(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Library, "kernels", lambda _: [Kernel.PORTABLE])  # it explains blocks by tables
    booster, _ = train(3, 3, 4)
    compiled = compile_booster(booster)
    assert (compiled.trees["has_tables"] & (compiled.trees["factors"] >= 0)).all()
    with pytest.raises(NotCoveredError, match="apart"):
        compare_with_xgboost(replace(compiled, factors=compiled.factors * 1.01), booster, library)


def test_the_margin_begins_where_xgboosts_does_for_every_objective() -> None:
    x = rows_of(0, 50, 2, missing=0)
    chance = np.random.default_rng(0)
    labels = {
        "binary:logistic": chance.integers(0, 2, 50),
        "reg:gamma": chance.random(50) + 0.1,
        "reg:absoluteerror": chance.normal(size=50),
        "count:poisson": chance.integers(0, 5, 50),
        "rank:ndcg": chance.integers(0, 2, 50),
        "multi:softprob": chance.integers(0, 3, 50),
    }
    xgboost = import_xgboost()
    for objective, y in labels.items():
        params = {"objective": objective, "nthread": 1, "max_depth": 1, "gamma": 1e9, "lambda": 1e30}
        params |= {"num_class": 3} if objective.startswith("multi") else {}
        data = xgboost.DMatrix(x, y, nthread=1, qid=np.zeros(50) if objective.startswith("rank") else None)
        booster = xgboost.train(params, data, 1)
        wanted = booster.predict(data, output_margin=True).reshape(50, -1)[0]
        np.testing.assert_allclose(compile_booster(booster).start, wanted, rtol=1e-5, atol=1e-6)
