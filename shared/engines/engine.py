"""What an engine is."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.interactions import Interactions

type Matrix = NDArray[np.float32]


class Engine(Protocol):
    """Explains rows of one model. It is loaded once and kept warm; one thread uses it."""

    @property
    def rows_at_once(self) -> int | None:
        """How many rows it explains in one go, so that none lasts long; None if it sets no bound of its own."""
        ...

    def explain(self, rows: Matrix) -> Matrix:
        """Return the exact SHAP values of each row, on the margin's scale, and the margin itself.

        `rows` has shape (rows, features); NaN is missing. The result has shape (rows, outputs,
        features + 2): the features' values, the base value, and the margin that XGBoost predicts, which the
        others should add up to: it is not made of them. Raises EngineError when the model is of a kind that the method cannot
        explain.
        """
        ...


class InteractionEngine(Protocol):
    """Works out what pairs of features give together, path-dependent."""

    def interactions(self, rows: Matrix, values: Matrix, wanted: Interactions) -> Matrix:
        """Return the rows' exact interactions in the shape that `wanted` tells.

        `values` is what an engine gave for the same rows. Raises EngineError when the model is of a kind that has none.
        """
        ...
