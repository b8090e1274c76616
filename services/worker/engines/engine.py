"""What an engine is."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

type Matrix = NDArray[np.float32]


class Engine(Protocol):
    """Explains rows of one model. It is loaded once and kept warm; one thread uses it."""

    def contributions(self, rows: Matrix) -> Matrix:
        """Return the exact SHAP values of each row, on the margin's scale.

        `rows` has shape (rows, features); NaN is missing. The result has shape (rows, outputs,
        features + 1): the features' values, then the base value. Raises EngineError when the model is of
        a kind that the method cannot explain.
        """
        ...


class Predictor(Protocol):
    """Predicts margins of one model."""

    def margins(self, rows: Matrix) -> Matrix:
        """Return the margin of each row: shape (rows, outputs)."""
        ...
