from typing import Any

import numpy as np
import pytest

from shared.engines.lean_xgboost import import_xgboost
from shared.models.activation.compilation import compile_booster
from shared.treeshap.compiler import compile_forest
from shared.treeshap.forest import NotCoveredError, forest_of, read_forest
from tests.support.boosters import document_with, rows_of, train, tree_document
from tests.support.shapley import document_of

STUMP: dict[str, Any] = {
    "splits": {0: (0, 0.5, True)},
    "leaves": {1: 1.0, 2: 2.0},
    "covers": {0: 4.0, 1: 2.0, 2: 2.0},
}


def test_a_tree_with_a_vector_in_each_leaf_becomes_one_for_each_output() -> None:
    booster, _ = train(2, 2, 3, targets=2, multi_strategy="multi_output_tree")
    forest = read_forest(bytes(booster.save_raw("ubj")))
    assert (forest.outputs, [tree.output for tree in forest.trees]) == (2, [0, 1, 0, 1])
    first, second = forest.trees[:2]
    inner = first.left >= 0
    np.testing.assert_array_equal(first.value[inner], second.value[inner])
    described = document_of(booster)["learner"]["gradient_booster"]["model"]["trees"][0]
    vectors = np.array(described["leaf_weights"], dtype=np.float32).reshape(-1, 2)
    places = np.array(described["right_children"])[~inner]
    np.testing.assert_array_equal(np.column_stack([first.value, second.value])[~inner], vectors[places])


def test_what_is_not_understood_is_named_and_not_covered() -> None:
    faults: list[tuple[str, Any, str]] = [
        ("sum_hessian", [4.0, -1.0, 2.0], "cover"),
        ("sum_hessian", None, "not understood: KeyError"),
        ("split_conditions", [0.5, 1e39, 2.0], "not finite"),
        ("split_indices", [7, 0, 0], "no feature"),
        ("split_type", [1, 0, 0], "categorical"),
        ("left_children", [1, -1], "not understood|one length"),
    ]
    for name, value, reason in faults:
        document = document_with([tree_document(**STUMP, features=2)], 2)
        forest_of(document)
        tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
        tree[name] = value
        if value is None:
            del tree[name]
        with pytest.raises(NotCoveredError, match=reason):
            forest_of(document)


def test_what_is_no_models_document_or_breaks_off_is_not_covered() -> None:
    booster, _ = train(2, 2, 3)
    content = bytes(booster.save_raw("ubj"))
    for wrong in (b"", b"[]", b"{}", b"{i\x07learner{i\x10gradient_booster{i\x04nameSi\x06gbtree}}}"):
        with pytest.raises(NotCoveredError, match="not understood"):
            read_forest(wrong)
    with pytest.raises(NotCoveredError, match="not understood: this UBJSON is truncated"):
        read_forest(content[: len(content) // 2])
    documents: list[Any] = [None, [], {}, {"learner": {"gradient_booster": {"name": "gbtree"}}}]
    for document in documents:
        with pytest.raises(NotCoveredError, match="not understood"):
            forest_of(document)
    with pytest.raises(NotCoveredError, match="gblinear has no trees"):
        compile_booster(train(0, 2, 3, booster="gblinear")[0])


def test_a_path_of_more_features_than_the_kernels_hold_or_a_start_without_end_is_not_covered() -> None:
    depth = 33
    splits = {2**level - 1: (level, 0.0, False) for level in range(depth)}
    leaves = {2**level: 1.0 for level in range(1, depth + 1)} | {2**depth - 1: 7.0}
    covers = dict.fromkeys([*splits, *leaves], 1.0)
    forest = forest_of(document_with([tree_document(splits, leaves, covers, depth)], depth))
    with pytest.raises(NotCoveredError, match="more than 32 different features"):
        compile_forest(forest, np.zeros(1, dtype=np.float32))
    forest = forest_of(document_with([tree_document(**STUMP, features=2)], 2))
    for start in ([np.inf], [0.0, 0.0]):
        with pytest.raises(NotCoveredError, match="margins"):
            compile_forest(forest, np.array(start, dtype=np.float32))


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
