"""XGBoost's own exact contributions, for `tree_path_dependent`.

The algorithm is XGBoost's QuadratureTreeSHAP, behind `Booster.predict(pred_contribs=True)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from services.worker.engines.engine import Matrix
from services.worker.lean_xgboost import THREADS, import_xgboost, load_booster
from shared.errors import EngineError


class XGBoostEngine:
    """One model in XGBoost, with one thread."""

    def __init__(self, booster: Any, outputs: int) -> None:
        self.booster = booster
        self._outputs = outputs
        self._dmatrix = import_xgboost().DMatrix

    @classmethod
    def load(cls, model_path: Path, outputs: int) -> XGBoostEngine:
        """Load a UBJ model that has so many outputs. Raises ModelFaultError if XGBoost cannot."""
        return cls(load_booster(model_path), outputs)

    def contributions(self, rows: Matrix) -> Matrix:
        """Return the exact path-dependent SHAP values: (rows, outputs, features + 1)."""
        return self._predict(rows, pred_contribs=True).reshape(len(rows), self._outputs, rows.shape[1] + 1)

    def margins(self, rows: Matrix) -> Matrix:
        """Return the margins: (rows, outputs)."""
        return self._predict(rows, output_margin=True).reshape(len(rows), self._outputs)

    def _predict(self, rows: Matrix, **what: bool) -> Matrix:
        # The api has matched the columns with the manifest's features, by name where names were given.
        data = self._dmatrix(rows, missing=np.nan, nthread=THREADS)
        try:
            values: Matrix = self.booster.predict(data, validate_features=False, **what)
        except import_xgboost().core.XGBoostError as fault:
            raise EngineError(f"XGBoost cannot explain this model: {_first_line(fault)}") from fault
        return values


def _first_line(fault: Exception) -> str:
    """Return the fault without XGBoost's stack trace, which it puts into the message."""
    return str(fault).strip().partition("\n")[0]
