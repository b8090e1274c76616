from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from models.train import RECIPES, train_model
from shared.engines.lean_xgboost import import_xgboost, load_booster
from shared.models.catalog import ModelCatalog

SHIPPED = ModelCatalog.load(Path(__file__).parents[3] / "models")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_training_twice_gives_the_same_bytes_and_the_shipped_predictions(
    tmp_path: Path, recipe: object
) -> None:
    first = train_model(recipe, tmp_path / "first")  # type: ignore[arg-type]
    second = train_model(recipe, tmp_path / "second")  # type: ignore[arg-type]
    shipped = SHIPPED.get(first.id)

    assert sha256(first.model_path) == sha256(second.model_path)
    assert (first.folder / "manifest.json").read_bytes() == (second.folder / "manifest.json").read_bytes()
    # Another CPU's arithmetic may give other last bits than those shipped: there, the predictions must agree.
    assert shipped.examples_path is not None
    rows = import_xgboost().DMatrix(np.load(shipped.examples_path), nthread=1)
    margins = [
        load_booster(version.model_path).predict(rows, output_margin=True, validate_features=False)
        for version in (first, shipped)
    ]
    np.testing.assert_allclose(margins[0], margins[1], rtol=1e-5, atol=1e-5)


def test_the_shipped_models_are_any_good() -> None:
    scores = {version.name: version.contract.training["held_out_score"] for version in SHIPPED.versions()}

    assert scores["breast-cancer"]["roc_auc"] > 0.98
    assert scores["wine"]["accuracy"] > 0.9
    assert scores["diabetes"]["r2"] > 0.35


def test_the_margin_of_breast_cancer_favours_what_its_output_is_named_after() -> None:
    version = SHIPPED.get("breast-cancer")
    assert version.examples_path is not None
    rows = np.load(version.examples_path)

    margins = load_booster(version.model_path).inplace_predict(
        rows, predict_type="margin", validate_features=False
    )

    worst_area = rows[:, version.features.index("worst area")]
    assert version.outputs == ("malignant",)
    assert worst_area[margins > 0].mean() > 2 * worst_area[margins < 0].mean()
    assert len(rows) == 569
