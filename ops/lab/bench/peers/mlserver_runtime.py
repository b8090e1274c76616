"""A custom runtime for MLServer that answers rows with their SHAP values, by XGBoost."""

from __future__ import annotations

import numpy as np
import xgboost
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri


class ShapRuntime(MLModel):
    """One model. Each of MLServer's inference processes has its own."""

    async def load(self) -> bool:
        """Load the model."""
        path = await get_model_uri(self._settings)
        self._booster = xgboost.Booster({"nthread": 1}, model_file=path)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Explain the rows of the one input."""
        rows = np.asarray(NumpyCodec.decode_input(payload.inputs[0]), dtype=np.float32)
        matrix = xgboost.DMatrix(rows, nthread=1)
        values = self._booster.predict(matrix, pred_contribs=True, validate_features=False)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("values", values)])
