"""Tries a model's tables against its background before anybody relies on them. Not with shap, which is large and slow to load.

Four things, with what is really used, tables and background as they are:

- a few trees' values of a few rows against their definition (`leaf_by_leaf`), with every kernel, in blocks and one by one;
- all values' sums against XGBoost's margins, on rows made of the model's own thresholds, with every kernel;
- the base value against XGBoost's mean margin over the background;
- all trees at once: what one background row gains from another that one loses, so that each feature's mean over the
  background is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import EngineError
from shared.models.activation.verification.exact_interventional import values_of_tree
from shared.models.activation.verification.trial_rows import rows_for_tables
from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.explainer import Explainer
from shared.treeshap.forest import Forest, NotCoveredError
from shared.treeshap.library import Library

#: How far sums may be off, relative to 1 and the largest value, and a tree's values, relative to its largest leaf.
TOLERANCE, TREE_TOLERANCE = 1e-5, 2e-6
#: The same for a feature's mean over the background, where what is rounded evens out.
MEAN_TOLERANCE = 1e-6
#: Trees whose values are compared with the definition, and rows: of these the last is a background row.
TRIAL_TREES, TRIED_ROWS = 8, 4
#: Bytes of values that are held at once while background rows are explained.
BYTES_AT_ONCE = 2**24

type Floats = NDArray[np.float32]


def try_tables(
    compiled: Compiled, forest: Forest, predictor: XGBoostEngine, background: Floats, library: Library
) -> tuple[float, float]:
    """Return how far trees' values and sums are off at most.

    Raises NotCoveredError, which says what is wrong and how far, if tables against a background are not right.
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
                got = explainer.explain(np.tile(rows, (times, 1)))[:, tree.output, :-2]
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
            got = Explainer(compiled, library, kernel).explain(some).astype(np.float64)
            wanted, scale = margins[: len(some)], np.abs(got).max(axis=2)
            sums = got[:, :, :-1].sum(axis=2)
            yield f"{kernel.name} kernel's margin", _relative(got[:, :, -1] - wanted, scale), TOLERANCE
            yield f"{kernel.name} kernel's sum", _relative(sums - wanted, scale), TOLERANCE


def _imbalance(compiled: Compiled, background: Floats, library: Library) -> float:
    explainer = Explainer(compiled, library)
    at_once = max(1, BYTES_AT_ONCE // (4 * compiled.outputs * (compiled.features + 2)))
    total, largest = np.zeros((compiled.outputs, compiled.features)), 0.0
    for begin in range(0, len(background), at_once):
        values = explainer.explain(background[begin : begin + at_once])[:, :, :-2]
        total += values.sum(axis=0, dtype=np.float64)
        largest = max(largest, float(np.abs(values).max(initial=0.0)))
    return _relative(total / len(background), largest)


def _relative(off: NDArray[np.floating], scale: NDArray[np.floating] | float) -> float:
    return float((np.abs(off) / (1 + scale)).max(initial=0.0))
