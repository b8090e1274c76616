"""shap's exact interventional values, against all of a model's background rows.

The algorithm is shap's C implementation of interventional TreeSHAP (Lundberg et al. 2020); the base value
is the mean margin over the background. shap, with its pandas and scikit-learn, is imported at the first such batch.
"""

from __future__ import annotations

import numpy as np

from shared.batch_plan import ROWS, plan_interventional_rows
from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import EngineError
from shared.explanation import Explanation, Matrix


class ShapEngine:
    """One model in shap, with its background."""

    def __init__(self, predictor: XGBoostEngine, background: Matrix, outputs: int) -> None:
        """`background` is (rows, features). Raises EngineError if shap refuses the model."""
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
        #: The rows of a batch that is planned for this engine.
        self.rows_at_once = plan_interventional_rows(ROWS, len(background), outputs)

    def explain(self, rows: Matrix) -> Explanation:
        """Return the rows' explanation."""
        # Without shap's own additivity check, which raises: our sum check follows.
        values = np.asarray(self._explainer.shap_values(rows, check_additivity=False))
        found = Explanation.empty(len(rows), self._outputs, rows.shape[1])
        found.values[:] = values.reshape(len(rows), rows.shape[1], self._outputs).swapaxes(1, 2)
        found.base_values[:] = np.reshape(self._explainer.expected_value, (1, self._outputs))
        found.margins[:] = self._predictor.margins(rows)
        return found
