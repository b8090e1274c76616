"""XGBoost's own exact contributions, for `tree_path_dependent`.

The algorithm is XGBoost's QuadratureTreeSHAP, behind `Booster.predict(pred_contribs=True)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shared.batch_plan import ROWS
from shared.engines.checks import check_interactions
from shared.engines.lean_xgboost import THREADS, import_xgboost, load_booster
from shared.errors import EngineError
from shared.explanation import Explanation, Matrix
from shared.interactions import Interactions
from shared.memory import ran_out_of_memory
from shared.models.version import ModelVersion
from shared.treeshap.top_k import every_pair, put_top_pairs, slices


class XGBoostEngine:
    """One model in XGBoost, with one thread."""

    #: The rows of a batch that is planned for this engine.
    rows_at_once = ROWS

    def __init__(self, booster: Any, outputs: int) -> None:
        self.booster = booster
        self._outputs = outputs
        self._xgboost = import_xgboost()

    @classmethod
    def load(cls, version: ModelVersion) -> XGBoostEngine:
        """Load a version's model, with its contract's rounds. Raises ModelFaultError."""
        return cls(load_booster(version.model_path, version.contract.trees), len(version.outputs))

    def explain(self, rows: Matrix) -> Explanation:
        """Return the rows' explanation."""
        data = self._data(rows)  # making it takes as long as explaining one row, so it is made once
        found = Explanation.empty(len(rows), self._outputs, rows.shape[1])
        found.contributions[:] = self._predict(data, pred_contribs=True).reshape(len(rows), self._outputs, -1)
        found.margins[:] = self._predict(data, output_margin=True).reshape(len(rows), self._outputs)
        return found

    def contributions(self, rows: Matrix) -> Matrix:
        """Return values and base value alone: (rows, outputs, features + 1)."""
        return self._predict(self._data(rows), pred_contribs=True).reshape(len(rows), self._outputs, -1)

    def interactions(self, rows: Matrix, explanation: Explanation, wanted: Interactions) -> Matrix:
        """Return the rows' interactions in the shape `wanted.shape`: XGBoost's `pred_interactions`.

        Top pairs are chosen from whole matrices, which must add up to `explanation`. Raises SumsDifferError if not.
        """
        features, outputs = rows.shape[1], self._outputs
        result = np.zeros(wanted.shape(len(rows), features, outputs), dtype=np.float32)
        pairs = every_pair(features) if wanted.top_pairs else None
        # Some rows at a time: XGBoost holds its matrices twice, beside the result.
        for some in slices(len(rows), outputs * (features + 1) ** 2):
            found = self._predict(self._data(rows[some]), pred_interactions=True)
            found = found.reshape(-1, outputs, features + 1, features + 1)
            if pairs is None:
                result[some] = found
            else:  # pairs have no sums to check later
                check_interactions(found, explanation[some], some.start)
                put_top_pairs(found[:, :, pairs[:, 0], pairs[:, 1]], pairs, result[some])
        return result

    def margins(self, rows: Matrix) -> Matrix:
        """Return the margins: (rows, outputs)."""
        return self._predict(self._data(rows), output_margin=True).reshape(len(rows), self._outputs)

    def _data(self, rows: Matrix) -> Any:
        return self._xgboost.DMatrix(rows, missing=np.nan, nthread=THREADS)

    def _predict(self, data: Any, **what: bool) -> Matrix:
        # The api has matched the columns with the contract's features, by name where names were given.
        try:
            values: Matrix = self.booster.predict(data, validate_features=False, **what)
        except self._xgboost.core.XGBoostError as fault:
            # XGBoost puts its stack trace into the message.
            reason = str(fault).strip().partition("\n")[0]
            if ran_out_of_memory(fault):
                raise MemoryError(reason) from fault
            raise EngineError(f"XGBoost cannot explain this model: {reason}") from fault
        return values
