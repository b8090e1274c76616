"""Models to measure with: trained here on random numbers, always the same, and kept."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.build import ROOT
from shared.engines.lean_xgboost import THREADS, import_xgboost
from shared.models.contract import Contract, Feature, Trees
from shared.models.store import ModelDraft, write_model_folder
from shared.models.version import ModelVersion

#: Rows that a model is trained on: enough for full trees of any depth that is measured.
TRAINING_ROWS = 20_000
#: The share of missing values.
MISSING = 0.02
#: Features among which each split may choose, and the steps of each: training on 200 features in full takes minutes.
CHOICE, STEPS = 30, 64
#: Where trained models are kept.
MODELS = ROOT / ".cache" / "bench" / "models"

type Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a model, which its cost depends on."""

    depth: int
    trees: int
    features: int

    def __str__(self) -> str:
        return f"depth {self.depth}, {self.trees} trees, {self.features} features"


#: The model of the quick form of every part.
QUICK_SHAPE = Shape(2, 3, 4)


def kept(shape: Shape) -> tuple[Any, Matrix]:
    """Return a booster with one output, and the rows that it was trained on.

    It is trained unless it was trained earlier.
    """
    xgboost = import_xgboost()
    rows, target = _draw(shape.features)
    parts = (*astuple(shape), TRAINING_ROWS, STEPS, CHOICE, xgboost.__version__)
    path = MODELS / f"{'-'.join(map(str, parts))}.ubj"
    if not path.exists():
        params = {
            "max_depth": shape.depth,
            "eta": 0.1,
            "nthread": 2,
            "tree_method": "hist",
            "max_bin": STEPS,
            "colsample_bynode": min(1.0, CHOICE / shape.features),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        half_written = path.with_suffix(".new.ubj")
        xgboost.train(params, xgboost.DMatrix(rows, target), shape.trees).save_model(half_written)
        half_written.rename(path)
    return xgboost.Booster({"nthread": THREADS}, model_file=path), rows


def write_version(folder: Path, shape: Shape) -> ModelVersion:
    """Write a model of this shape to a folder of models, for a service to serve."""
    contract = Contract(
        name="bench",
        version=1,
        sha256="",
        features=tuple(Feature(f"f{number}") for number in range(shape.features)),
        outputs=("output",),
        objective="reg:squarederror",
        library_version=import_xgboost().__version__,
        training={},
        trees=Trees(shape.trees, shape.trees),
    )
    return write_model_folder(folder, ModelDraft(contract, bytes(kept(shape)[0].save_raw("ubj"))))


def _draw(features: int) -> tuple[Matrix, NDArray[np.float64]]:
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(TRAINING_ROWS, features)).astype(np.float32)
    target = rows @ chance.normal(size=features) + rows[:, 0] * rows[:, 1] + chance.normal(size=len(rows))
    rows[chance.random(rows.shape) < MISSING] = np.nan
    return rows, target
