"""Explains rows with a compiled model: values, margins, and interactions of pairs."""

from __future__ import annotations

import ctypes

import numpy as np

from shared.explanation import Explanation, Matrix
from shared.treeshap.compiled import Compiled
from shared.treeshap.library import Kernel, Library, native_model, native_pairs
from shared.treeshap.pairs import Pairs, find_pairs
from shared.treeshap.top_k import put_top_pairs, slices


class _NativeModel:
    """One compiled model and one kernel. Any number of threads may use it at once."""

    def __init__(self, compiled: Compiled, library: Library, kernel: Kernel | None = None) -> None:
        """Use the fastest kernel of this machine unless one is given."""
        self.kernel = library.kernels()[0] if kernel is None else kernel
        self.compiled, self.library = compiled, library
        self._features, self._outputs = compiled.features, compiled.outputs
        self._model, self._entry = native_model(compiled), library.entry(self.kernel)

    def _fill(self, result: Matrix, rows: Matrix, pairs: Pairs | None = None, *, dense: bool = False) -> None:
        """Have the kernel fill `result`, which is zero. Raises ValueError and MemoryError."""
        if rows.ndim != 2 or rows.shape[1] != self._features:
            raise ValueError(f"rows must have {self._features} columns, not {rows.shape[1:]}")
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        plan = None if pairs is None else ctypes.byref(native_pairs(pairs, dense=dense))
        where = rows.ctypes.data, len(rows), result.ctypes.data
        if self._entry(ctypes.byref(self._model), plan, *where):
            raise MemoryError("no memory for a block of rows")


class Explainer(_NativeModel):
    """Explains rows by a compiled model's own method."""

    def explain(self, rows: Matrix) -> Explanation:
        """Return the rows' explanation. Raises ValueError for rows of another width.

        The margin is the sum of the leaves that a row reaches, in XGBoost's order, and does not come from the tables:
        that values and base value add up to it is a check of theirs.
        """
        shape = Explanation.shape_of(len(rows), self._outputs, self._features)
        found = Explanation(np.zeros(shape, dtype=np.float32))
        self._fill(found.array, rows)
        return found


class InteractionExplainer(_NativeModel):
    """Computes interactions by a path-dependent compiled model."""

    def __init__(self, compiled: Compiled, library: Library, kernel: Kernel | None = None) -> None:
        """Use the fastest kernel of this machine unless one is given. Raises NotCoveredError."""
        super().__init__(compiled, library, kernel)
        self._pairs = find_pairs(compiled)

    @property
    def megabytes(self) -> float:
        """The memory that it takes in addition to the compiled model."""
        return self._pairs.megabytes

    def matrices(self, rows: Matrix, explanation: Explanation) -> Matrix:
        """Return the matrices of `Booster.predict(pred_interactions=True)`.

        Their shape is (rows, outputs, features + 1, features + 1). `explanation` is Explainer's for the same rows: each
        matrix's rows add up to its contributions.
        """
        side = self._features + 1
        result = np.zeros((len(rows), self._outputs, side, side), dtype=np.float32)
        self._fill(result, rows, self._pairs, dense=True)
        diagonal = np.einsum("roii->roi", result)  # a view
        diagonal += explanation.contributions  # the base value is the corner
        return result

    def top(self, rows: Matrix, count: int) -> Matrix:
        """Return each row's `count` pairs of the largest absolute values, in that order.

        The shape is (rows, outputs, count, 3): two features, the lower one first, and the value; zeros if a row has
        fewer pairs.
        """
        result = np.zeros((len(rows), self._outputs, count, 3), dtype=np.float32)
        for some in slices(len(rows), self._outputs * self._pairs.count):
            found = np.zeros((some.stop - some.start, self._outputs, self._pairs.count), dtype=np.float32)
            self._fill(found, rows[some], self._pairs)
            put_top_pairs(found, self._pairs.features, result[some])
        return result
