"""Explains rows with a compiled model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.treeshap.compiled import Compiled
from shared.treeshap.library import Kernel, Library, native_model

type Matrix = NDArray[np.float32]


class Explainer:
    """One compiled model and one kernel. Any number of threads may use it at once."""

    def __init__(self, compiled: Compiled, library: Library, kernel: Kernel | None = None) -> None:
        """`kernel` is the fastest that this machine can run unless one is named."""
        self.kernel = library.kernels()[0] if kernel is None else kernel
        self.compiled = compiled
        self.library = library
        self._model = native_model(compiled)

    def explain(self, rows: Matrix) -> Matrix:
        """Return contributions, base value and margin: (rows, outputs, features + 2).

        The margin is the sum of the leaves that a row reaches, in XGBoost's order, and no table's: that the others
        add up to it is a check of theirs. Raises ValueError for rows of another width.
        """
        features = self.compiled.features
        if rows.ndim != 2 or rows.shape[1] != features:
            raise ValueError(f"rows must have {features} columns, not {rows.shape[1:]}")
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        result = np.zeros((len(rows), self.compiled.outputs, features + 2), dtype=np.float32)
        self.library.explain(self._model, rows, result, self.kernel)
        return result
