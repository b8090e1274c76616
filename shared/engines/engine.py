"""The protocols of engines, which explain rows of one model."""

from __future__ import annotations

from typing import Protocol

from shared.explanation import Explanation, Matrix
from shared.interactions import Interactions


class Engine(Protocol):
    """Explains rows of one model. It is loaded once and kept warm; one thread uses it."""

    @property
    def rows_at_once(self) -> int | None:
        """The number of rows in one call, so that no call takes long; None for no limit."""
        ...

    def explain(self, rows: Matrix) -> Explanation:
        """Return the exact SHAP values of rows (rows, features), on the margin's scale.

        NaN is missing. The margin is the model's own, not the sum of the values: that they add up to it is a check. Raises EngineError
        for a kind of model that the method cannot explain.
        """
        ...


class InteractionEngine(Protocol):
    """Computes path-dependent interactions of pairs of features."""

    def interactions(self, rows: Matrix, explanation: Explanation, wanted: Interactions) -> Matrix:
        """Return the rows' exact interactions in the shape `wanted.shape`.

        `explanation` is an engine's for the same rows. Raises EngineError for a kind of model that has none.
        """
        ...
