"""XGBoost's own contributions, straight from the library: what every other way of computing is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.engines.lean_xgboost import THREADS, import_xgboost, load_booster
from shared.models.contract import Trees

#: How far values may be from XGBoost's own, as `distance` tells it.
EXACT = 1e-5

type Explain = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def reference_contributions(
    model_path: Path, rows: NDArray[np.float32], trees: Trees | None = None
) -> NDArray[np.float32]:
    """Return `Booster.predict(pred_contribs=True)` for rows x features: rows x outputs x (features + 1), base last.

    `trees` are the contract's; without them the rounds that `model.predict` uses count.

    Raises ModelFaultError if the model cannot be loaded, OSError if it cannot be read.
    """
    return bare_explainer(model_path, trees)(rows)


def bare_explainer(model_path: Path, trees: Trees | None = None) -> Explain:
    """Return what a process with nothing but XGBoost would call: the same, with the model loaded once."""
    booster = load_booster(model_path, trees)
    dmatrix = import_xgboost().DMatrix

    def explain(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        matrix = dmatrix(rows, missing=np.nan, nthread=THREADS)
        values = booster.predict(matrix, pred_contribs=True, validate_features=False)
        return np.asarray(values, dtype=np.float32).reshape(len(rows), -1, rows.shape[1] + 1)

    return explain


def distance(values: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return how far values are from XGBoost's own at most, relative to the row's and output's largest, or 1.

    Both are rows x outputs x (features + 1), or can be seen so. Float32 has seven digits, of which either may lose
    one, so that the largest of a row tells how far apart its values may be. Infinite where one is no number.
    """
    theirs = reference.astype(np.float64)
    apart = np.abs(values.reshape(reference.shape) - theirs)
    relative = apart / np.maximum(1.0, np.abs(theirs).max(axis=-1, keepdims=True))
    return float(np.where(np.isfinite(relative), relative, np.inf).max(initial=0.0))
