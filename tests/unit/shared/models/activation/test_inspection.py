from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.engines.lean_xgboost import import_xgboost
from shared.errors import ModelFaultError
from shared.models.activation.contract_check import complete_contract
from shared.models.activation.inspection import (
    ModelInspection,
    convert_model,
    inspect_model,
    inspect_models,
)
from shared.models.catalog import ModelCatalog
from shared.models.contract import Feature, Kind, Label

SHIPPED = Path(__file__).parents[5] / "models"


def save(path: Path, names: list[str] | None = None, **params: Any) -> Path:
    xgboost = import_xgboost()
    rows = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    labels = np.arange(60) % params.get("num_class", 2)
    matrix = xgboost.DMatrix(rows, labels, feature_names=names, nthread=1)
    booster = xgboost.train({"nthread": 1, "max_depth": 2, "verbosity": 0, **params}, matrix, 2)
    path.write_bytes(booster.save_raw(path.suffix[1:]))
    return path


EMPTY: dict[str, Any] = {"offsets": [], "values": []}


def saved(path: Path, booster: Any) -> Path:
    path.write_bytes(booster.save_raw("ubj"))
    return path


def with_learner(folder: Path, cats: list[dict[str, Any]] | None = None, **changes: Any) -> Path:
    """Save a model whose file says other things of its features."""
    document = json.loads(save(folder / "m.json").read_bytes())
    document["learner"].update(changes)
    if cats is not None:
        document["learner"]["gradient_booster"]["model"]["cats"] = encoded(cats)
    path = folder / "changed.json"
    path.write_text(json.dumps(document))
    return path


def encoded(cats: list[dict[str, Any]]) -> dict[str, Any]:
    counts = [len(one["offsets"][:-1]) if "offsets" in one else len(one["values"]) for one in cats]
    segments = np.cumsum([0, *counts]).tolist()
    order = [index for count in counts for index in range(count)]
    return {"enc": cats, "feature_segments": segments, "sorted_idx": order}


def test_a_model_tells_its_features_outputs_and_objective(tmp_path: Path) -> None:
    path = save(tmp_path / "m.ubj", ["a", "b", "c"], objective="multi:softprob", num_class=4)

    seen = inspect_model(path)

    version = str(import_xgboost().__version__)
    features = tuple(map(Feature, ("a", "b", "c")))
    assert seen == ModelInspection(features, True, 4, "multi:softprob", "gbtree", 2, None, {}, version)


@pytest.mark.parametrize(("booster", "rounds"), [("gbtree", 2), ("dart", 2), ("gblinear", 0)])
def test_a_model_without_names_gets_some_and_json_reads_as_well(
    tmp_path: Path, booster: str, rounds: int
) -> None:
    drop: dict[str, Any] = {"rate_drop": 0.5, "one_drop": 1} if booster == "dart" else {}
    seen = inspect_model(save(tmp_path / "m.json", objective="binary:logistic", booster=booster, **drop))

    assert [feature.name for feature in seen.features] == ["f0", "f1", "f2"]
    assert (seen.named, seen.outputs, seen.booster, seen.rounds) == (False, 1, booster, rounds)


def test_types_are_kinds(tmp_path: Path) -> None:
    rows = np.array([[0, 1, 0.5, 7]] * 4, np.float32)
    matrix = import_xgboost().DMatrix(
        rows, np.arange(4), feature_types=["c", "i", "float", "int"], enable_categorical=True, nthread=1
    )
    seen = inspect_model(saved(tmp_path / "m.ubj", import_xgboost().train({}, matrix, 1)))

    kinds = [Kind.CATEGORY, Kind.BOOLEAN, Kind.NUMBER, Kind.NUMBER]
    assert [feature.kind for feature in seen.features] == kinds
    assert seen.features[0].labels == ()


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ({"offsets": [0, 2, 4], "values": list("\u00e9ab".encode())}, ("\u00e9", "ab")),
        ({"type": 15, "values": [30, -10]}, (30, -10)),
    ],
)
def test_labels_are_in_code_order(tmp_path: Path, values: dict[str, Any], labels: tuple[Label, ...]) -> None:
    path = with_learner(tmp_path, feature_types=["c", "float", "float"], cats=[values, EMPTY, EMPTY])

    assert [one.labels for one in inspect_model(path).features] == [labels, (), ()]


def test_best_iteration_is_read_and_other_attributes_are_kept(tmp_path: Path) -> None:
    booster = import_xgboost().Booster(model_file=save(tmp_path / "m.ubj"))
    booster.set_attr(best_iteration="0", best_score="0.5", note="mine")
    seen = inspect_model(saved(tmp_path / "best.ubj", booster))
    booster.set_attr(best_iteration="2")
    beyond = inspect_model(saved(tmp_path / "beyond.ubj", booster))

    assert (seen.best_iteration, seen.rounds) == (0, 2)
    assert seen.attributes == {"best_score": "0.5", "note": "mine"}
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
def test_what_is_ambiguous_is_refused(tmp_path: Path, learner: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelFaultError, match=r"^changed\.json ") as caught:
        inspect_model(with_learner(tmp_path, **learner))

    assert said in str(caught.value)


def test_converting_gives_the_same_predictions(tmp_path: Path) -> None:
    xgboost = import_xgboost()
    source = save(tmp_path / "m.json")

    convert_model(source, tmp_path / "copy.ubj")

    rows = np.random.default_rng(2).normal(size=(9, 3)).astype(np.float32)
    before, after = xgboost.Booster(model_file=source), xgboost.Booster(model_file=tmp_path / "copy.ubj")
    np.testing.assert_array_equal(before.inplace_predict(rows), after.inplace_predict(rows))


@pytest.mark.parametrize("content", [b"", b"not a model", b'{"learner": {}}'])
def test_what_is_no_model_is_refused_by_its_file_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.ubj"
    path.write_bytes(content)

    with pytest.raises(ModelFaultError, match=r"^m\.ubj "):
        inspect_model(path)
    with pytest.raises(ModelFaultError, match=r"^m\.ubj "):
        convert_model(path, tmp_path / "copy.ubj")
    assert not (tmp_path / "copy.ubj").exists()


def test_files_that_crash_xgboost_cost_only_themselves(tmp_path: Path) -> None:
    good = save(tmp_path / "good.ubj")
    whole = good.read_bytes()
    random = np.random.default_rng(3)
    damaged = []
    for index in range(12):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), 4):
            content[place] ^= 0xFF
        damaged.append(tmp_path / f"damaged-{index}.ubj")
        damaged[-1].write_bytes(content)

    findings = inspect_models([*damaged, good], timeout=60)

    assert len(findings) == 13
    assert isinstance(findings[-1], ModelInspection)
    assert sum(isinstance(finding, ModelFaultError) for finding in findings) >= 6


def test_looking_into_a_file_does_not_take_for_ever(tmp_path: Path) -> None:
    begun = time.monotonic()

    (finding,) = inspect_models([save(tmp_path / "m.ubj")], timeout=0.01)

    assert isinstance(finding, ModelFaultError)
    assert "was stopped after" in str(finding)
    assert time.monotonic() - begun < 60


def test_the_shipped_models_are_what_their_manifests_say() -> None:
    versions = ModelCatalog.load(SHIPPED).versions()

    assert len(versions) >= 3
    for version in versions:
        found = inspect_model(version.model_path)
        assert complete_contract(version.contract, found) == version.contract


def test_a_category_is_one_also_where_the_file_lacks_types(tmp_path: Path) -> None:
    xgboost = import_xgboost()
    rows = np.column_stack([np.arange(60) % 3, np.linspace(0, 1, 60)]).astype(np.float32)
    matrix = xgboost.DMatrix(
        rows, rows[:, 0] == 1, feature_types=["c", "float"], enable_categorical=True, nthread=1
    )
    booster = xgboost.train({"nthread": 1, "max_depth": 2, "verbosity": 0}, matrix, 2)
    booster.feature_types = None
    found = inspect_model(saved(tmp_path / "m.ubj", booster))
    assert [feature.kind for feature in found.features] == [Kind.CATEGORY, Kind.NUMBER]
