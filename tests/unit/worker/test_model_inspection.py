from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.worker.lean_xgboost import import_xgboost
from services.worker.model_inspection import (
    ModelInspection,
    convert_model,
    find_model_faults,
    inspect_model,
    inspect_models,
)
from shared.errors import ModelFaultError
from shared.models.catalog import ModelCatalog
from shared.models.store import ModelDraft, write_model_folder

SHIPPED = Path(__file__).parents[3] / "models"


def save(path: Path, names: list[str] | None = None, **params: Any) -> Path:
    xgboost = import_xgboost()
    rows = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    labels = np.arange(60) % params.get("num_class", 2)
    matrix = xgboost.DMatrix(rows, labels, feature_names=names, nthread=1)
    booster = xgboost.train({"nthread": 1, "max_depth": 2, "verbosity": 0, **params}, matrix, 2)
    path.write_bytes(booster.save_raw(path.suffix[1:]))
    return path


def test_a_model_tells_its_features_outputs_and_objective(tmp_path: Path) -> None:
    path = save(tmp_path / "m.ubj", ["a", "b", "c"], objective="multi:softprob", num_class=4)

    seen = inspect_model(path)

    version = str(import_xgboost().__version__)
    assert seen == ModelInspection(3, ("a", "b", "c"), (), 4, "multi:softprob", version)


@pytest.mark.parametrize("booster", ["gbtree", "dart"])
def test_a_model_without_names_has_none_and_json_reads_as_well(tmp_path: Path, booster: str) -> None:
    seen = inspect_model(save(tmp_path / "m.json", objective="binary:logistic", booster=booster))

    assert (seen.features, seen.feature_names, seen.outputs) == (3, (), 1)


def test_converting_gives_the_same_predictions(tmp_path: Path) -> None:
    xgboost = import_xgboost()
    source = save(tmp_path / "m.json")

    convert_model(source, tmp_path / "copy.ubj")

    rows = np.random.default_rng(2).normal(size=(9, 3)).astype(np.float32)
    before, after = xgboost.Booster(model_file=source), xgboost.Booster(model_file=tmp_path / "copy.ubj")
    np.testing.assert_array_equal(before.inplace_predict(rows), after.inplace_predict(rows))


@pytest.mark.parametrize("content", [b"", b"not a model", b"{}", b'{"learner": {}}', b"\x80\x04pickle"])
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

    findings = inspect_models([*damaged, good], timeout=10)

    assert len(findings) == 13
    assert isinstance(findings[-1], ModelInspection)
    assert sum(isinstance(finding, ModelFaultError) for finding in findings) >= 6


def test_looking_into_a_file_does_not_take_for_ever(tmp_path: Path) -> None:
    begun = time.monotonic()

    (finding,) = inspect_models([save(tmp_path / "m.ubj")], timeout=0.01)

    assert isinstance(finding, ModelFaultError)
    assert "did not come to an end" in str(finding)
    assert time.monotonic() - begun < 10


def test_the_shipped_models_are_what_their_manifests_say() -> None:
    versions = ModelCatalog.load(SHIPPED).versions()

    assert len(versions) >= 3
    assert find_model_faults(versions) == []


def test_a_manifest_that_disagrees_with_its_model_is_a_fault(tmp_path: Path) -> None:
    draft = ModelDraft(
        name="odd",
        version=1,
        model=save(tmp_path / "m.ubj", ["a", "b", "c"]).read_bytes(),
        features=("a", "b"),
        outputs=("x", "y"),
        objective="binary:logistic",
        xgboost_version="3.4.1",
        training={},
    )
    wrong_order = ModelDraft(
        "order", 1, draft.model, ("b", "a", "c"), ("x",), "reg:squarederror", "3.4.1", {}
    )
    versions = [write_model_folder(tmp_path, each) for each in (draft, wrong_order)]

    whats = [fault.what for fault in find_model_faults(versions)]

    assert whats == [
        "the model takes 3 features, its manifest names 2",
        "the model gives 1 outputs, its manifest names 2",
        "the model's objective is reg:squarederror, its manifest says binary:logistic",
        "the model's feature names are not the manifest's, or in another order",
    ]
