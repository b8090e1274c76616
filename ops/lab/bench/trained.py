"""Models to measure with: trained here, on numbers drawn by chance, always the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.build import ROOT
from shared.engines.lean_xgboost import import_xgboost

#: Rows that a model is trained on: enough for full trees of any depth that is measured.
TRAINING_ROWS = 20_000
#: The share of missing values.
MISSING = 0.02
#: Features among which each split may choose, and the steps of each: training on 200 features in full takes minutes.
CHOICE, STEPS = 30, 64
#: Where trained models are kept, and the trees of each: smaller ones are its beginning.
MODELS = ROOT / ".cache" / "bench" / "models"
KEPT_TREES = 500


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a model, which its cost depends on."""

    depth: int
    trees: int
    features: int

    def __str__(self) -> str:
        return f"depth {self.depth}, {self.trees} trees, {self.features} features"


def train(shape: Shape) -> tuple[Any, NDArray[np.float32]]:
    """Train a regression; return the booster and rows like those that it was trained on."""
    rows, target = _draw(shape.features)
    xgboost = import_xgboost()
    params = {
        "max_depth": shape.depth,
        "eta": 0.1,
        "nthread": 2,
        "tree_method": "hist",
        "max_bin": STEPS,
        "colsample_bynode": min(1.0, CHOICE / shape.features),
    }
    return xgboost.train(params, xgboost.DMatrix(rows, target), shape.trees), rows


def kept(shape: Shape) -> tuple[Any, NDArray[np.float32]]:
    """Return what `train` would, from what an earlier run has trained where there is something."""
    if shape.trees > KEPT_TREES:
        return train(shape)
    xgboost = import_xgboost()
    parts = (shape.depth, shape.features, TRAINING_ROWS, STEPS, CHOICE, xgboost.__version__)
    path = MODELS / f"{'-'.join(map(str, parts))}.ubj"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        half_written = path.with_suffix(".new.ubj")
        train(replace(shape, trees=KEPT_TREES))[0].save_model(half_written)
        half_written.rename(path)
    whole = xgboost.Booster(model_file=path)
    # Saved and read again: a slice keeps what only training needs.
    booster = xgboost.Booster(model_file=whole[: shape.trees].save_raw())
    return booster, _draw(shape.features)[0]


def _draw(features: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(TRAINING_ROWS, features)).astype(np.float32)
    target = rows @ chance.normal(size=features) + rows[:, 0] * rows[:, 1] + chance.normal(size=len(rows))
    rows[chance.random(rows.shape) < MISSING] = np.nan
    return rows, target
