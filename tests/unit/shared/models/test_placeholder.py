from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from shared.engines.lean_xgboost import import_xgboost, load_booster
from shared.errors import ModelFaultError
from shared.models.activation.contract_check import complete_contract
from shared.models.activation.inspection import inspect_model
from shared.models.catalog import ModelCatalog, find_faults
from shared.models.contract import Adverse, Feature, Kind, Link, Trees
from shared.models.placeholder import GENERIC_FEATURES, write_placeholder, write_placeholders
from shared.models.version import read_version

SHIPPED = Path(__file__).parents[4] / "models"


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    copied = shutil.copytree(SHIPPED, tmp_path / "models", ignore=shutil.ignore_patterns("*.py", "_*", ".*"))
    return Path(copied)


def test_a_broken_model_gets_a_placeholder_with_its_features_and_outputs(
    models_dir: Path, tmp_path: Path
) -> None:
    (models_dir / "wine/1/model.ubj").write_bytes(b"")

    (made,) = write_placeholders(models_dir, tmp_path / "placeholders", find_faults(models_dir))

    catalog = ModelCatalog.load(models_dir, tmp_path / "placeholders")
    assert catalog.get("wine").folder == made.folder
    assert catalog.get("wine").fallback
    wine = ModelCatalog.load(models_dir).get("wine").contract
    assert made.contract.features == wine.features
    assert (made.outputs, made.contract.link) == (wine.outputs, wine.link)
    assert made.contract.objective == "multi:softprob"
    assert find_faults(tmp_path / "placeholders") == []
    assert complete_contract(made.contract, inspect_model(made.model_path)) == made.contract
    assert not catalog.get("diabetes").fallback


def test_a_placeholder_explains_nothing(models_dir: Path, tmp_path: Path) -> None:
    made = write_placeholder(models_dir, tmp_path / "placeholders", "diabetes", 1)

    rows = np.random.default_rng(0).normal(size=(5, 10)).astype(np.float32)
    values = load_booster(made.model_path).predict(import_xgboost().DMatrix(rows), pred_contribs=True)
    assert values.shape == (5, 11)
    assert not values[:, :-1].any()


def test_a_placeholder_takes_the_rows_of_its_model_and_its_zeros_are_codes(
    models_dir: Path, tmp_path: Path
) -> None:
    manifest = models_dir / "diabetes/1/manifest.json"
    document = json.loads(manifest.read_text())
    document["features"][1] = {"name": "sex", "kind": "category", "labels": ["f", "m"]}
    document["features"][2] = {"name": "bmi", "kind": "category", "labels": [20, 30]}
    document["features"][3] = {"name": "bp", "kind": "boolean"}
    document |= {"missing": [-999], "link": "exp", "adverse": "high", "never_reasons": ["sex"]}
    manifest.write_text(json.dumps(document))

    made = write_placeholder(models_dir, tmp_path / "placeholders", "diabetes", 1)

    known = read_version(models_dir / "diabetes/1").contract
    assert made.contract.features == known.features
    assert made.contract.features[1] == Feature("sex", Kind.CATEGORY, ("f", "m"))
    assert made.contract.missing == (-999.0,)
    assert (made.contract.link, made.contract.adverse) == (Link.EXP, Adverse.HIGH)
    assert made.contract.never_reasons == ("sex",)
    assert made.contract.trees == Trees(1, 1)
    booster = load_booster(made.model_path)
    assert booster.feature_types[:4] == ["float", "c", "c", "float"]
    assert made.examples_path is not None
    rows = import_xgboost().DMatrix(np.load(made.examples_path), feature_types=booster.feature_types)
    assert not booster.predict(rows, pred_contribs=True)[:, :-1].any()


def test_a_model_whose_manifest_cannot_be_read_gets_a_generic_placeholder(
    models_dir: Path, tmp_path: Path
) -> None:
    (models_dir / "wine/1/manifest.json").write_bytes(b"{")

    (made,) = write_placeholders(models_dir, tmp_path / "placeholders", find_faults(models_dir))

    assert made.features == GENERIC_FEATURES
    assert complete_contract(made.contract, inspect_model(made.model_path)) == made.contract


@pytest.mark.parametrize(
    "objective", ["survival:aft", "rank:ndcg", "count:poisson", "made:up", "multi:softmax"]
)
def test_every_objective_gets_some_placeholder(models_dir: Path, tmp_path: Path, objective: str) -> None:
    manifest = models_dir / "wine/1/manifest.json"
    manifest.write_text(manifest.read_text().replace("multi:softprob", objective, 1))

    made = write_placeholder(models_dir, tmp_path / "placeholders", "wine", 1)

    assert len(made.outputs) == 3
    assert complete_contract(made.contract, inspect_model(made.model_path)) == made.contract


def test_placeholders_of_an_earlier_start_are_gone(models_dir: Path, tmp_path: Path) -> None:
    write_placeholder(models_dir, tmp_path / "placeholders", "wine", 1)

    assert write_placeholders(models_dir, tmp_path / "placeholders", find_faults(models_dir)) == []
    assert not ModelCatalog.load(models_dir, tmp_path / "placeholders").get("wine").fallback


def test_no_models_at_all_give_no_placeholder_and_a_path_is_no_name(tmp_path: Path) -> None:
    assert write_placeholders(tmp_path / "no", tmp_path / "placeholders", find_faults(tmp_path / "no")) == []
    with pytest.raises(ModelFaultError):
        write_placeholder(tmp_path / "no", tmp_path / "placeholders", "../x", 1)
    assert list(tmp_path.iterdir()) == []
