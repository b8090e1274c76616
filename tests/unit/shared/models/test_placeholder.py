from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.build import ROOT
from shared.engines.lean_xgboost import import_xgboost, load_booster
from shared.errors import ModelFaultError
from shared.models.activation.contract_check import complete_contract
from shared.models.activation.inspection import inspect_model
from shared.models.catalog import ModelCatalog, find_faults
from shared.models.contract import Adverse, Feature, Kind, Link, Trees
from shared.models.placeholder import GENERIC_FEATURES, write_placeholder, write_placeholders
from shared.models.version import ModelVersion, read_version


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    for name in ("diabetes", "wine"):
        shutil.copytree(ROOT / "models" / name, tmp_path / "models" / name)
    return tmp_path / "models"


@pytest.fixture
def placeholders(tmp_path: Path) -> Path:
    return tmp_path / "placeholders"


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def check_explains_nothing(made: ModelVersion) -> None:
    assert complete_contract(made.contract, inspect_model(made.model_path)) == made.contract
    assert made.examples_path is not None
    booster = load_booster(made.model_path)
    rows = import_xgboost().DMatrix(np.load(made.examples_path), feature_types=booster.feature_types)
    values = booster.predict(rows, pred_contribs=True).reshape(-1, len(made.contract.features) + 1)
    assert not values[:, :-1].any()


def test_a_broken_model_gets_a_placeholder_until_it_is_repaired(models_dir: Path, placeholders: Path) -> None:
    model = models_dir / "wine/1/model.ubj"
    whole = model.read_bytes()
    model.write_bytes(b"")
    (made,) = write_placeholders(models_dir, placeholders, find_faults(models_dir))
    catalog = ModelCatalog.load(models_dir, placeholders)
    assert catalog.get("wine").folder == made.folder
    assert (catalog.get("wine").fallback, catalog.get("diabetes").fallback) == (True, False)
    wine = ModelCatalog.load(models_dir).get("wine").contract
    assert made.contract.features == wine.features
    assert (made.outputs, made.contract.link) == (wine.outputs, wine.link)
    assert made.contract.objective == "multi:softprob"
    assert find_faults(placeholders) == []
    check_explains_nothing(made)

    model.write_bytes(whole)
    assert write_placeholders(models_dir, placeholders, find_faults(models_dir)) == []
    assert not ModelCatalog.load(models_dir, placeholders).get("wine").fallback


def test_a_placeholder_takes_the_rows_of_its_model_and_its_zeros_are_codes(
    models_dir: Path, placeholders: Path
) -> None:
    features = json.loads((models_dir / "diabetes/1/manifest.json").read_text())["features"]
    features[1:4] = [
        {"name": "sex", "kind": "category", "labels": ["f", "m"]},
        {"name": "bmi", "kind": "category", "labels": [20, 30]},
        {"name": "bp", "kind": "boolean"},
    ]
    more = {"missing": [-999], "link": "exp", "adverse": "high", "never_reasons": ["sex"]}
    change_manifest(models_dir / "diabetes/1", features=features, **more)
    made = write_placeholder(models_dir, placeholders, "diabetes", 1)
    contract = made.contract
    assert contract.features == read_version(models_dir / "diabetes/1").contract.features
    assert contract.features[1] == Feature("sex", Kind.CATEGORY, ("f", "m"))
    assert (contract.missing, contract.link, contract.adverse) == ((-999.0,), Link.EXP, Adverse.HIGH)
    assert (contract.never_reasons, contract.trees) == (("sex",), Trees(1, 1))
    assert load_booster(made.model_path).feature_types[:4] == ["float", "c", "c", "float"]
    check_explains_nothing(made)


def test_a_manifest_that_cannot_be_read_or_any_objective_gives_some_placeholder(
    models_dir: Path, placeholders: Path
) -> None:
    for objective in ("survival:aft", "rank:ndcg", "count:poisson", "made:up", "multi:softmax"):
        change_manifest(models_dir / "wine/1", objective=objective)
        made = write_placeholder(models_dir, placeholders, "wine", 1)
        assert len(made.outputs) == 3
        check_explains_nothing(made)
    (models_dir / "wine/1/manifest.json").write_bytes(b"{")
    (made,) = write_placeholders(models_dir, placeholders, find_faults(models_dir))
    assert made.features == GENERIC_FEATURES
    check_explains_nothing(made)


def test_no_models_at_all_give_no_placeholder_and_a_path_is_no_name(tmp_path: Path) -> None:
    assert write_placeholders(tmp_path / "no", tmp_path / "placeholders", find_faults(tmp_path / "no")) == []
    with pytest.raises(ModelFaultError):
        write_placeholder(tmp_path / "no", tmp_path / "placeholders", "../x", 1)
    assert list(tmp_path.iterdir()) == []
