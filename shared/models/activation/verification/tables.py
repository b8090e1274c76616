"""Verifies a model's tables against its background, without shap, which is slow to load.

Four checks, on the real tables and background:

- a few trees' values of a few rows against their definition, with every kernel, in blocks and one by one;
- all values' sums against XGBoost's margins, on rows made of the model's own thresholds, with every kernel;
- the base value against XGBoost's mean margin over the background;
- all trees at once: each feature's mean over the background is 0, since rows of the background gain from each other
  exactly as much as they lose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import EngineError
from shared.explanation import Explanation
from shared.models.activation.verification.exact_interventional import Floats, values_of_tree
from shared.models.activation.verification.trial_rows import rows_for_tables
from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.explainer import Explainer
from shared.treeshap.forest import Forest, NotCoveredError
from shared.treeshap.library import Library

#: The largest difference of sums, relative to 1 + the largest value, and of a tree's values, to its largest leaf.
TOLERANCE, TREE_TOLERANCE = 1e-5, 2e-6
#: The same for a feature's mean over the background, where rounding evens out.
MEAN_TOLERANCE = 1e-6
#: Trees whose values are compared with the definition, and rows: of these the last is a background row.
TRIAL_TREES, TRIED_ROWS = 8, 4
#: Bytes of values that are held at once while background rows are explained.
BYTES_AT_ONCE = 2**24


def try_tables(
    compiled: Compiled, forest: Forest, predictor: XGBoostEngine, background: Floats, library: Library
) -> tuple[float, float]:
    """Return the largest differences of trees' values and of sums.

    Raises NotCoveredError with the fault and its size if tables against a background are not right.
    """
    difference = residual = 0.0
    rows = rows_for_tables(compiled, forest)
    few = np.concatenate([rows[: TRIED_ROWS - 1], background[:1]])
    try:
        margins, bases = predictor.margins(rows), predictor.margins(background)
    except EngineError as error:
        raise NotCoveredError(str(error)) from error
    base = _relative(compiled.base - bases.mean(axis=0, dtype=np.float64), np.abs(bases).max(axis=0))
    for what, off, tolerance in (
        *_trees(compiled, forest, few, background, library),
        *_sums(compiled, rows, margins, library),
        ("base value", base, TOLERANCE),
        ("values' mean over the background", _imbalance(compiled, background, library), MEAN_TOLERANCE),
    ):
        if not off <= tolerance:
            raise NotCoveredError(f"against the background, the {what} is {off:.1e} off")
        if tolerance == TREE_TOLERANCE:
            difference = max(difference, off)
        else:
            residual = max(residual, off)
    return difference, residual


def _trees(
    compiled: Compiled, forest: Forest, rows: Floats, background: Floats, library: Library
) -> Iterator[tuple[str, float, float]]:
    ordered = sorted(forest.trees, key=lambda tree: tree.output)  # as the compiler lays them
    inner = np.flatnonzero(compiled.trees["nodes"])
    for at in (
        inner[np.unique(np.linspace(0, len(inner) - 1, TRIAL_TREES, dtype=np.int64))] if len(inner) else ()
    ):
        tree = ordered[at]
        wanted = np.array([values_of_tree(tree, row, background) for row in rows])
        largest = np.abs(tree.value[tree.left < 0]).max()
        for kernel in library.kernels():
            explainer = Explainer(_only(compiled, int(at), tree.output), library, kernel)
            for times in (1, layout.TABLE_ROW):  # one by one, and as a block
                got = explainer.explain(np.tile(rows, (times, 1))).values[:, tree.output]
                off = np.abs(got - np.tile(wanted, (times, 1))).max()
                yield (
                    f"{kernel.name} kernel's value of tree {at}",
                    float(off / (largest or 1)),
                    TREE_TOLERANCE,
                )


def _only(compiled: Compiled, tree: int, output: int) -> Compiled:
    """Return the same tables with a single tree."""
    first = (np.arange(compiled.outputs + 1) > output).astype(np.int32)
    return replace(compiled, trees=compiled.trees[tree : tree + 1], first_tree=first)


def _sums(
    compiled: Compiled, rows: Floats, margins: Floats, library: Library
) -> Iterator[tuple[str, float, float]]:
    for kernel in library.kernels():
        for some in (rows, rows[:TRIED_ROWS]):
            got = Explainer(compiled, library, kernel).explain(some)
            wanted, scale = margins[: len(some)].astype(np.float64), np.abs(got.array).max(axis=2)
            sums = got.contributions.sum(axis=2, dtype=np.float64)
            yield f"{kernel.name} kernel's margin", _relative(got.margins - wanted, scale), TOLERANCE
            yield f"{kernel.name} kernel's sum", _relative(sums - wanted, scale), TOLERANCE


def _imbalance(compiled: Compiled, background: Floats, library: Library) -> float:
    explainer = Explainer(compiled, library)
    at_once = max(1, BYTES_AT_ONCE // (4 * Explanation.numbers_of(compiled.outputs, compiled.features)))
    total, largest = np.zeros((compiled.outputs, compiled.features)), 0.0
    for begin in range(0, len(background), at_once):
        values = explainer.explain(background[begin : begin + at_once]).values
        total += values.sum(axis=0, dtype=np.float64)
        largest = max(largest, float(np.abs(values).max(initial=0.0)))
    return _relative(total / len(background), largest)


def _relative(off: NDArray[np.floating], scale: NDArray[np.floating] | float) -> float:
    return float((np.abs(off) / (1 + scale)).max(initial=0.0))
