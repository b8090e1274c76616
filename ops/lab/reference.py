"""XGBoost's own contributions: the reference for results in tools and tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.engines.lean_xgboost import THREADS, import_xgboost, load_booster
from shared.models.contract import Trees

#: The largest `distance` from XGBoost that counts as exact.
EXACT = 1e-5

type Explain = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def reference_contributions(
    model_path: Path, rows: NDArray[np.float32], trees: Trees | None = None
) -> NDArray[np.float32]:
    """Return `Booster.predict(pred_contribs=True)`: (rows, outputs, features + 1), base last.

    `trees` are the contract's; without them the rounds that `model.predict` uses count.

    Raises ModelFaultError if the model cannot be loaded, OSError if it cannot be read.
    """
    return bare_explainer(model_path, trees)(rows)


def bare_explainer(model_path: Path, trees: Trees | None = None) -> Explain:
    """Return the function `reference_contributions` with the model loaded once."""
    booster = load_booster(model_path, trees)
    dmatrix = import_xgboost().DMatrix

    def explain(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        matrix = dmatrix(rows, missing=np.nan, nthread=THREADS)
        values = booster.predict(matrix, pred_contribs=True, validate_features=False)
        return np.asarray(values, dtype=np.float32).reshape(len(rows), -1, rows.shape[1] + 1)

    return explain


def distance(values: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return the largest difference from XGBoost, relative to 1 or the largest of its row.

    Both are rows x outputs x (features + 1), or can be seen so. Float32 has seven digits, of which either side may
    lose one, so the tolerance depends on the largest of a row. Infinity if a number is not finite.
    """
    theirs = reference.astype(np.float64)
    apart = np.abs(values.reshape(reference.shape) - theirs)
    relative = apart / np.maximum(1.0, np.abs(theirs).max(axis=-1, keepdims=True))
    return float(np.where(np.isfinite(relative), relative, np.inf).max(initial=0.0))
