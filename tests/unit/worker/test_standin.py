from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from services.worker.lean_xgboost import import_xgboost, load_booster
from services.worker.model_inspection import find_model_faults
from services.worker.standin import GENERIC_FEATURES, write_standin, write_standins
from shared.errors import ModelFaultError
from shared.models.catalog import ModelCatalog, find_faults

SHIPPED = Path(__file__).parents[3] / "models"


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    copied = shutil.copytree(SHIPPED, tmp_path / "models", ignore=shutil.ignore_patterns("*.py", "_*", ".*"))
    return Path(copied)


def test_a_broken_model_gets_a_standin_with_its_features_and_outputs(
    models_dir: Path, tmp_path: Path
) -> None:
    (models_dir / "wine/1/model.ubj").write_bytes(b"")

    (made,) = write_standins(models_dir, tmp_path / "standins", find_faults(models_dir))

    catalog = ModelCatalog.load(models_dir, tmp_path / "standins")
    assert catalog.get("wine").folder == made.folder
    assert catalog.get("wine").fallback
    assert made.features == ModelCatalog.load(models_dir).get("wine").features
    assert len(made.outputs) == 3
    assert made.contract.objective == "multi:softprob"
    assert find_faults(tmp_path / "standins") == []
    assert find_model_faults([made]) == []
    assert not catalog.get("diabetes").fallback


def test_a_standin_explains_nothing(models_dir: Path, tmp_path: Path) -> None:
    made = write_standin(models_dir, tmp_path / "standins", "diabetes", 1)

    rows = np.random.default_rng(0).normal(size=(5, 10)).astype(np.float32)
    values = load_booster(made.model_path).predict(import_xgboost().DMatrix(rows), pred_contribs=True)
    assert values.shape == (5, 11)
    assert not values[:, :-1].any()


def test_a_model_whose_manifest_cannot_be_read_gets_a_generic_standin(
    models_dir: Path, tmp_path: Path
) -> None:
    (models_dir / "wine/1/manifest.json").write_bytes(b"{")

    (made,) = write_standins(models_dir, tmp_path / "standins", find_faults(models_dir))

    assert made.features == GENERIC_FEATURES
    assert find_model_faults([made]) == []


@pytest.mark.parametrize(
    "objective", ["survival:aft", "rank:ndcg", "count:poisson", "made:up", "multi:softmax"]
)
def test_every_objective_gets_some_standin(models_dir: Path, tmp_path: Path, objective: str) -> None:
    manifest = models_dir / "wine/1/manifest.json"
    manifest.write_text(manifest.read_text().replace("multi:softprob", objective, 1))

    made = write_standin(models_dir, tmp_path / "standins", "wine", 1)

    assert len(made.outputs) == 3
    assert find_model_faults([made]) == []


def test_standins_of_an_earlier_start_are_gone(models_dir: Path, tmp_path: Path) -> None:
    write_standin(models_dir, tmp_path / "standins", "wine", 1)

    assert write_standins(models_dir, tmp_path / "standins", find_faults(models_dir)) == []
    assert not ModelCatalog.load(models_dir, tmp_path / "standins").get("wine").fallback


def test_no_models_at_all_give_no_standin_and_a_path_is_no_name(tmp_path: Path) -> None:
    assert write_standins(tmp_path / "no", tmp_path / "standins", find_faults(tmp_path / "no")) == []
    with pytest.raises(ModelFaultError):
        write_standin(tmp_path / "no", tmp_path / "standins", "../x", 1)
    assert list(tmp_path.iterdir()) == []
