"""Explains rows with a compiled model."""

from __future__ import annotations

import numpy as np

from shared.explanation import Explanation, Matrix
from shared.treeshap.compiled import Compiled
from shared.treeshap.library import Kernel, Library, native_model


class Explainer:
    """One compiled model and one kernel. Any number of threads may use it at once."""

    def __init__(self, compiled: Compiled, library: Library, kernel: Kernel | None = None) -> None:
        """`kernel` is the fastest that this machine can run unless one is named."""
        self.kernel = library.kernels()[0] if kernel is None else kernel
        self.compiled = compiled
        self.library = library
        self._model = native_model(compiled)

    def explain(self, rows: Matrix) -> Explanation:
        """Return the rows' explanation. Raises ValueError for rows of another width.

        The margin is the sum of the leaves that a row reaches, in XGBoost's order, and does not come from the tables:
        that values and base value add up to it is a check of theirs.
        """
        features = self.compiled.features
        if rows.ndim != 2 or rows.shape[1] != features:
            raise ValueError(f"rows must have {features} columns, not {rows.shape[1:]}")
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        shape = Explanation.shape_of(len(rows), self.compiled.outputs, features)
        found = Explanation(np.zeros(shape, dtype=np.float32))
        self.library.explain(self._model, rows, found.array, self.kernel)
        return found
