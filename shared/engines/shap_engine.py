"""shap's exact interventional values, against all of a model's background rows.

The algorithm is shap's C implementation of interventional TreeSHAP (Lundberg et al. 2020); the base value
is the mean margin over the background. shap, and the pandas and scikit-learn that it needs, are imported
when the first such batch comes, not before.
"""

from __future__ import annotations

import numpy as np

from shared.batch_plan import ROWS, plan_interventional_rows
from shared.engines.engine import Matrix
from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import EngineError


class ShapEngine:
    """One model in shap, with its background."""

    def __init__(self, predictor: XGBoostEngine, background: Matrix, outputs: int) -> None:
        """`background` has shape (background rows, features). Raises EngineError if shap cannot read the model."""
        import shap  # noqa: PLC0415  # 110 MB, and only this engine needs it

        # Without max_samples shap takes a sample of 100 rows and says so only in a log line.
        masker = shap.maskers.Independent(background, max_samples=len(background))
        try:
            self._explainer = shap.TreeExplainer(
                predictor.booster, data=masker, feature_perturbation="interventional", model_output="raw"
            )
        except (ValueError, NotImplementedError, AssertionError, TypeError) as fault:
            raise EngineError(
                f"shap cannot explain this model against background data: {str(fault).rstrip('.')}. Use tree_path_dependent."
            ) from fault
        self._predictor = predictor
        self._outputs = outputs
        #: What a batch has that is planned for this engine.
        self.rows_at_once = plan_interventional_rows(ROWS, len(background), outputs)

    def explain(self, rows: Matrix) -> Matrix:
        """Return contributions, base value and margin: (rows, outputs, features + 2)."""
        # shap's own additivity check raises; the residual is data, and the result carries the margin for it.
        values = self._explainer.shap_values(rows, check_additivity=False)
        result = np.empty((len(rows), self._outputs, rows.shape[1] + 2), dtype=np.float32)
        result[:, :, :-2] = np.asarray(values).reshape(len(rows), rows.shape[1], self._outputs).swapaxes(1, 2)
        result[:, :, -2] = np.reshape(self._explainer.expected_value, (1, self._outputs))
        result[:, :, -1] = self._predictor.margins(rows)
        return result
