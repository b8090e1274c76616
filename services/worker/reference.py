"""XGBoost's own contributions, straight from the library: what every other way of computing is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.worker.lean_xgboost import THREADS, import_xgboost, load_booster

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def reference_contributions(model_path: Path, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `Booster.predict(pred_contribs=True)` for rows x features: rows x outputs x (features + 1), base last.

    Raises ModelFaultError if the model cannot be loaded, OSError if it cannot be read.
    """
    booster = load_booster(model_path)
    matrix = import_xgboost().DMatrix(rows, missing=np.nan, nthread=THREADS)
    matrix.feature_names = booster.feature_names
    matrix.feature_types = booster.feature_types
    values = np.asarray(booster.predict(matrix, pred_contribs=True), dtype=np.float32)
    return values.reshape(len(rows), -1, rows.shape[1] + 1)
