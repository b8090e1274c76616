from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.build import ROOT
from shared.engines.lean_xgboost import import_xgboost, load_booster
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion


@pytest.fixture(scope="module")
def shipped() -> dict[str, ModelVersion]:
    return {version.name: version for version in ModelCatalog.load(ROOT / "models").versions()}


def margins_of(version: ModelVersion, rows: np.ndarray) -> np.ndarray:
    matrix = import_xgboost().DMatrix(rows, nthread=1)
    margins = load_booster(version.model_path).predict(matrix, output_margin=True, validate_features=False)
    return np.asarray(margins)


def test_training_gives_the_shipped_predictions_and_the_same_bytes_again(
    tmp_path: Path, shipped: dict[str, ModelVersion]
) -> None:
    from models.train import RECIPES, train_model

    assert {recipe.name for recipe in RECIPES} == set(shipped)
    for recipe in RECIPES:
        trained, version = train_model(recipe, tmp_path / "first"), shipped[recipe.name]
        # Another CPU's arithmetic may give other last bits than those shipped: there, the predictions must agree.
        assert version.examples_path is not None
        rows = np.load(version.examples_path)
        np.testing.assert_allclose(margins_of(trained, rows), margins_of(version, rows), rtol=1e-5, atol=1e-5)
    again = train_model(recipe, tmp_path / "second")
    for name in (trained.model_path.name, "manifest.json"):
        assert (trained.folder / name).read_bytes() == (again.folder / name).read_bytes()


def test_the_shipped_models_are_any_good(shipped: dict[str, ModelVersion]) -> None:
    scores = {name: version.contract.training["held_out_score"] for name, version in shipped.items()}
    assert scores["breast-cancer"]["roc_auc"] > 0.98
    assert scores["wine"]["accuracy"] > 0.9
    assert scores["diabetes"]["r2"] > 0.35


def test_the_margin_of_breast_cancer_favours_what_its_output_is_named_after(
    shipped: dict[str, ModelVersion],
) -> None:
    version = shipped["breast-cancer"]
    assert version.examples_path is not None
    rows = np.load(version.examples_path)
    margins = margins_of(version, rows)
    worst_area = rows[:, version.features.index("worst area")]
    assert version.outputs == ("malignant",)
    assert worst_area[margins > 0].mean() > 2 * worst_area[margins < 0].mean()
    assert len(rows) == 569
