"""Interactions of pairs of features with a compiled model: matrices, or each row's top-k."""

from __future__ import annotations

import numpy as np

from shared.explanation import Explanation, Matrix
from shared.treeshap.compiled import Compiled
from shared.treeshap.library import Kernel, Library, native_model, native_pairs
from shared.treeshap.pairs import Pairs, find_pairs
from shared.treeshap.top_k import put_top_pairs, slices


class InteractionExplainer:
    """One compiled model and one kernel. Any number of threads may use it at once."""

    def __init__(self, compiled: Compiled, library: Library, kernel: Kernel | None = None) -> None:
        """`kernel` is the fastest that this machine can run unless one is named. Raises NotCoveredError."""
        self.kernel = library.kernels()[0] if kernel is None else kernel
        self.compiled = compiled
        self.library = library
        self._pairs: Pairs = find_pairs(compiled)
        self._model = native_model(compiled)

    @property
    def megabytes(self) -> float:
        """How much memory it takes beside the compiled model."""
        return self._pairs.megabytes

    def matrices(self, rows: Matrix, explanation: Explanation) -> Matrix:
        """Return the matrices of `Booster.predict(pred_interactions=True)`.

        Their shape is (rows, outputs, features + 1, features + 1). `explanation` is Explainer's for the same rows: each
        matrix's rows add up to its contributions.
        """
        features = self.compiled.features
        result = np.zeros((len(rows), self.compiled.outputs, features + 1, features + 1), dtype=np.float32)
        self._fill(rows, result, dense=True)
        diagonal = np.einsum("roii->roi", result)  # a view
        diagonal += explanation.contributions  # the base value is the corner
        return result

    def top(self, rows: Matrix, count: int) -> Matrix:
        """Return each row's `count` pairs of the largest absolute values, ordered by it: (rows, outputs, count, 3).

        Each is two features, the lower one first, and the value; those beyond what a row has are 0, 0, 0.
        """
        outputs, pairs = self.compiled.outputs, self._pairs.count
        result = np.zeros((len(rows), outputs, count, 3), dtype=np.float32)
        for some in slices(len(rows), outputs * pairs):
            found = np.zeros((some.stop - some.start, outputs, pairs), dtype=np.float32)
            self._fill(rows[some], found, dense=False)
            put_top_pairs(found, self._pairs.features, result[some])
        return result

    def _fill(self, rows: Matrix, result: Matrix, *, dense: bool) -> None:
        features = self.compiled.features
        if rows.ndim != 2 or rows.shape[1] != features:
            raise ValueError(f"rows must have {features} columns, not {rows.shape[1:]}")
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        plan = native_pairs(self._pairs, dense=dense)
        self.library.explain_pairs(self._model, plan, rows, result, self.kernel)
