from typing import Any

import numpy as np
import pytest

from shared.models.activation.compilation import compile_booster
from shared.treeshap.compiler import compile_forest
from shared.treeshap.forest import NotCoveredError, forest_of, read_forest
from tests.support.boosters import document_with, train, tree_document

STUMP: dict[str, Any] = {
    "splits": {0: (0, 0.5, True)},
    "leaves": {1: 1.0, 2: 2.0},
    "covers": {0: 4.0, 1: 2.0, 2: 2.0},
}


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
