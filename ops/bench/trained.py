"""Models to measure with: trained here, on numbers drawn by chance, always the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.worker.lean_xgboost import import_xgboost

#: Rows that a model is trained on: enough for full trees of any depth that is measured.
TRAINING_ROWS = 20_000
#: The share of missing values.
MISSING = 0.02


@dataclass(frozen=True, slots=True)
class Shape:
    """What a model's cost depends on."""

    depth: int
    trees: int
    features: int

    def __str__(self) -> str:
        return f"depth {self.depth}, {self.trees} trees, {self.features} features"


def train(shape: Shape) -> tuple[Any, NDArray[np.float32]]:
    """Train a regression; return the booster and rows like those that it was trained on."""
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(TRAINING_ROWS, shape.features)).astype(np.float32)
    target = (
        rows @ chance.normal(size=shape.features) + rows[:, 0] * rows[:, 1] + chance.normal(size=len(rows))
    )
    rows[chance.random(rows.shape) < MISSING] = np.nan
    xgboost = import_xgboost()
    params = {"max_depth": shape.depth, "eta": 0.1, "nthread": 2, "tree_method": "hist"}
    return xgboost.train(params, xgboost.DMatrix(rows, target), shape.trees), rows
