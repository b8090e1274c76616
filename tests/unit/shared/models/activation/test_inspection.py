from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.engines.lean_xgboost import import_xgboost, load_booster
from shared.errors import ModelFaultError
from shared.models.activation.inspection import (
    ALL_ROUNDS,
    ModelInspection,
    convert_model,
    inspect_booster,
    inspect_model,
    inspect_models,
)
from shared.models.contract import Feature, Kind
from tests.support.boosters import Floats, load, train

EMPTY: dict[str, Any] = {"offsets": [], "values": []}


def typed_booster(rows: Floats, types: list[str]) -> Any:
    xgboost = import_xgboost()
    matrix = xgboost.DMatrix(rows, rows[:, 0] == 1, feature_types=types, enable_categorical=True, nthread=1)
    return xgboost.train({"nthread": 1, "max_depth": 2, "verbosity": 0}, matrix, 2)


def document_with(cats: list[dict[str, Any]] | None = None, **changes: Any) -> Any:
    """Return a model's document that says other things of its three features."""
    document = json.loads(bytes(train(2, 2, 3)[0].save_raw("json")))
    document["learner"].update(changes)
    if cats is not None:
        counts = [len(one["offsets"][:-1]) if "offsets" in one else len(one["values"]) for one in cats]
        document["learner"]["gradient_booster"]["model"]["cats"] = {
            "enc": cats,
            "feature_segments": np.cumsum([0, *counts]).tolist(),
            "sorted_idx": [index for count in counts for index in range(count)],
        }
    return document


def inspected(path: Path, document: Any) -> ModelInspection:
    path.write_text(json.dumps(document))
    return inspect_booster(load_booster(path, ALL_ROUNDS), path.name)


def test_a_model_tells_its_features_outputs_and_objective_and_json_is_converted(tmp_path: Path) -> None:
    booster, x = train(2, 2, 3, objective="multi:softprob", num_class=4)
    booster.feature_names = ["a", "b", "c"]
    booster.save_model(tmp_path / "m.json")
    seen = convert_model(tmp_path / "m.json", tmp_path / "m.ubj")
    version = str(import_xgboost().__version__)
    features = tuple(map(Feature, ("a", "b", "c")))
    assert seen == ModelInspection(features, True, 4, "multi:softprob", "gbtree", 2, None, {}, version)
    assert seen == inspect_model(tmp_path / "m.ubj")
    converted = load_booster(tmp_path / "m.ubj")
    np.testing.assert_array_equal(booster.inplace_predict(x[:9]), converted.inplace_predict(x[:9]))


@pytest.mark.parametrize(("booster", "rounds"), [("gbtree", 2), ("dart", 2), ("gblinear", 0)])
def test_a_model_without_names_gets_some(booster: str, rounds: int) -> None:
    drop: dict[str, Any] = {"rate_drop": 0.5, "one_drop": 1} if booster == "dart" else {}
    seen = inspect_booster(train(2, 2, 3, booster=booster, **drop)[0], "m.ubj")
    assert [feature.name for feature in seen.features] == ["f0", "f1", "f2"]
    assert (seen.named, seen.outputs, seen.booster, seen.rounds) == (False, 1, booster, rounds)


def test_types_are_kinds_and_a_category_is_one_also_where_the_file_lacks_types() -> None:
    rows = np.array([[0, 1, 0.5, 7]] * 4, np.float32)
    seen = inspect_booster(typed_booster(rows, ["c", "i", "float", "int"]), "m.ubj")
    kinds = [Kind.CATEGORY, Kind.BOOLEAN, Kind.NUMBER, Kind.NUMBER]
    assert [feature.kind for feature in seen.features] == kinds
    assert seen.features[0].labels == ()

    rows = np.column_stack([np.arange(60) % 3, np.linspace(0, 1, 60)]).astype(np.float32)
    booster = typed_booster(rows, ["c", "float"])
    booster.feature_types = None
    seen = inspect_booster(booster, "m.ubj")
    assert [feature.kind for feature in seen.features] == [Kind.CATEGORY, Kind.NUMBER]


def test_labels_are_in_code_order(tmp_path: Path) -> None:
    texts = {"offsets": [0, 2, 4], "values": list("\u00e9ab".encode())}
    for values, labels in ((texts, ("\u00e9", "ab")), ({"type": 15, "values": [30, -10]}, (30, -10))):
        document = document_with([values, EMPTY, EMPTY], feature_types=["c", "float", "float"])
        seen = inspected(tmp_path / "m.json", document)
        assert [one.labels for one in seen.features] == [labels, (), ()]


def test_best_iteration_is_read_and_other_attributes_are_kept() -> None:
    booster, _ = train(2, 2, 3)
    booster.set_attr(best_iteration="0", best_score="0.5", note="mine")
    seen = inspect_booster(booster, "m.ubj")
    assert (seen.best_iteration, seen.rounds) == (0, 2)
    assert seen.attributes == {"best_score": "0.5", "note": "mine"}
    booster.set_attr(best_iteration="2")
    beyond = inspect_booster(booster, "m.ubj")
    assert (beyond.best_iteration, beyond.attributes["best_iteration"]) == (None, "2")


@pytest.mark.parametrize(
    ("learner", "said"),
    [
        ({"feature_names": ["p", "q"]}, "has 3 features and 2 feature names ('p', 'q')"),
        ({"feature_names": ["p", "q", "p"]}, "has feature names more than once: 'p'"),
        ({"feature_names": ["p", "", "q"]}, "names feature 1 ''"),
        ({"feature_types": ["float", "x", "c"]}, "feature 'f1' is of type 'x'"),
        ({"feature_types": ["c"]}, "has 3 features and 1 feature types ('c')"),
        (
            {"feature_types": ["c", "q", "q"], "cats": [{"type": 15, "values": [4, 4]}, EMPTY, EMPTY]},
            "has labels of 'f0' more than once: 4",
        ),
    ],
)
def test_what_is_ambiguous_is_refused(learner: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelFaultError, match=r"^changed\.json ") as caught:
        inspect_booster(load(document_with(**learner)), "changed.json")
    assert said in str(caught.value)


def test_what_is_no_model_is_refused_by_its_file_name(tmp_path: Path) -> None:
    paths = [tmp_path / f"m{number}.ubj" for number in range(3)]
    for path, content in zip(paths, (b"", b"not a model", b'{"learner": {}}'), strict=True):
        path.write_bytes(content)
    for path, finding in zip(paths, inspect_models(paths), strict=True):
        assert isinstance(finding, ModelFaultError)
        assert str(finding).startswith(f"{path.name} ")
    for path in paths:  # some are refused, some crash XGBoost
        with pytest.raises(ModelFaultError, match=f"^{path.name} "):
            convert_model(path, tmp_path / "copy.ubj")
        assert not (tmp_path / "copy.ubj").exists()


def test_a_file_that_crashes_xgboost_or_takes_for_ever_costs_only_itself(tmp_path: Path) -> None:
    crashing, good = tmp_path / "crashing.json", tmp_path / "good.ubj"
    document = document_with()
    train(2, 2, 3)[0].save_model(good)
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["left_children"][0] = tree["right_children"][0] = 10**9
    crashing.write_text(json.dumps(document))
    crashed, found = inspect_models([crashing, good], timeout=60)
    assert isinstance(crashed, ModelFaultError)
    assert "crashing.json cannot be loaded: XGBoost ended with -" in str(crashed)
    assert isinstance(found, ModelInspection)

    begun = time.monotonic()
    (finding,) = inspect_models([good], timeout=0.01)
    assert isinstance(finding, ModelFaultError)
    assert "was stopped after" in str(finding)
    assert time.monotonic() - begun < 60


def test_a_model_that_does_not_fit_into_memory_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    xgboost = import_xgboost()

    def full(*_arguments: Any) -> None:
        raise xgboost.core.XGBoostError("[08:00:00] std::bad_alloc")

    path = tmp_path / "m.ubj"
    train(2, 2, 3)[0].save_model(path)
    monkeypatch.setattr(xgboost.Booster, "load_model", full)
    with pytest.raises(MemoryError):
        load_booster(path, ALL_ROUNDS)
