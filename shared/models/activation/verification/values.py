"""Verifies path-dependent values and interactions on every engine that may offer them.

XGBoost and the compiled engine, with the kernel that this machine uses, explain the same rows. Those on which they differ
most, and some more, are computed in float64 (exact_values.py). That decides: neither engine is right by definition.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shared.errors import EngineError
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.models.activation.records import XGBOOST, MethodRecord
from shared.models.activation.verification.exact_values import Doubles, Floats
from shared.models.activation.verification.model_under_test import ModelUnderTest
from shared.models.activation.verification.trial_rows import PAIR_LEAVES, rows_within
from shared.treeshap.compiled import Compiled
from shared.treeshap.explainer import Explainer, InteractionExplainer
from shared.treeshap.forest import NotCoveredError
from shared.treeshap.pairs import MOST_NUMBERS

#: The largest difference from float64, and of sums from the margin, relative to 1 + the row's largest number.
TOLERANCE = 1e-5
#: Trial rows that are always compared with float64, and more on which the engines differ most.
EXACT_ROWS, WORST_ROWS = 2, 2
#: Rows that are also explained one by one: kernels treat few rows in another way, with other rounding.
ALONE_ROWS = 40
#: Rows whose interactions are compared, and numbers of their matrices, at most.
PAIR_ROWS, PAIR_NUMBERS = 20, 2**21


@dataclass(frozen=True, slots=True)
class Finding:
    """The largest differences of an engine's numbers, and their fault, if there is one."""

    difference: float
    residual: float
    fault: str | None

    @classmethod
    def of(cls, what: str, difference: float, residual: float) -> Finding:
        """Compare both with the tolerance."""
        fault = None
        if not difference <= TOLERANCE:
            fault = f"{what} are {difference:.1e} off the values in float64"
        elif not residual <= TOLERANCE:
            fault = f"{what} are {residual:.1e} off their sum"
        return cls(difference, residual, fault)


def verify_values(tested: ModelUnderTest, compiled: Compiled | None, uncovered: str | None) -> MethodRecord:
    """Choose the engine of values: the compiled one if it is right, else XGBoost if that is.

    `uncovered` says why the model is not compiled.
    """
    reason = uncovered
    if compiled is not None and tested.library is not None:
        finding, seconds = _judge_kernel(tested, Explainer(compiled, tested.library))
        if finding.fault is None:
            engine = tested.library.kernels()[0].engine
            return MethodRecord(engine, None, finding.difference, finding.residual, seconds)
        reason = finding.fault
    seconds = row_microseconds(tested.predictor.explain, tested.rows)
    finding = _judge_values(tested, "XGBoost's values", tested.explanation, tested.explanation)
    if finding.fault is not None:
        return MethodRecord(None, "; ".join(filter(None, (reason, finding.fault))))
    return MethodRecord(XGBOOST, reason, finding.difference, finding.residual, seconds)


def _judge_kernel(tested: ModelUnderTest, explainer: Explainer) -> tuple[Finding, float]:
    name = f"the {explainer.kernel.name} kernel's values"
    count, features = tested.rows.shape
    # XGBoost explains few rows of a large model. The kernel gets them repeatedly, so that they fill its blocks.
    many = np.resize(tested.rows, (tested.at_once, features))
    seconds = row_microseconds(explainer.explain, many)
    every = explainer.explain(many)
    for begin in range(0, len(many), count):
        some = every[begin : begin + count]
        finding = _judge_values(tested, name, some, tested.explanation[: len(some)])
        if finding.fault is not None:
            return finding, seconds
    few = tested.rows[:ALONE_ROWS, None]
    alone = Explanation.concatenate([explainer.explain(row) for row in few])
    of_few = _judge_values(tested, f"{name} of rows alone", alone, tested.explanation[: len(few)])
    return of_few, seconds


def _judge_values(tested: ModelUnderTest, what: str, got: Explanation, xgboosts: Explanation) -> Finding:
    """Compare an explanation of the first trial rows with float64 and XGBoost's margins."""
    scale = tested.scale[: len(got)]
    apart = (np.abs(got.array - xgboosts.array) / scale).max(axis=(1, 2))
    difference = 0.0
    for row in {
        *range(min(EXACT_ROWS, len(got))),
        *np.argsort(-np.nan_to_num(apart, nan=np.inf))[:WORST_ROWS].tolist(),
    }:
        exact = tested.exact(row)
        if exact is not None:
            difference = max(difference, largest(got.array[row] - exact.array[0], scale[row]))
    sums = got.contributions.sum(axis=2, dtype=np.float64) - got.margins
    margins = got.margins.astype(np.float64) - xgboosts.margins
    residual = max(largest(sums, scale[:, :, 0]), largest(margins, scale[:, :, 0]))
    return Finding.of(what, difference, residual)


def largest(off: Doubles | Floats, scale: Doubles | Floats) -> float:
    """Return the largest difference relative to a scale; infinity if one is not finite."""
    relative = np.abs(off) / scale
    return float(np.where(np.isfinite(relative), relative, np.inf).max(initial=0.0))


def row_microseconds(explain: Callable[[Floats], Explanation], rows: Floats) -> float:
    """Return the processor time of one row within these."""
    explain(rows[:1])  # the first call loads and prepares what later ones share
    started = time.thread_time()
    explain(rows)
    return round((time.thread_time() - started) / len(rows) * 1e6, 2)


def verify_interactions(
    tested: ModelUnderTest, compiled: Compiled | None, uncovered: str | None
) -> MethodRecord:
    """Choose the engine of interactions, as `verify_values` does for values."""
    contract, reason = tested.contract, uncovered
    each = len(contract.outputs) * (len(contract.features) + 1) ** 2
    if each > MOST_NUMBERS:
        return MethodRecord(None, f"one row's interactions are {each:,} numbers, more than {MOST_NUMBERS:,}")
    rows = max(1, min(PAIR_ROWS, PAIR_NUMBERS // each, rows_within(PAIR_LEAVES, tested.forest)))
    theirs = _xgboosts_interactions(tested, rows)
    if compiled is not None:
        try:
            return _verify_kernels_interactions(tested, compiled, rows, theirs)
        except NotCoveredError as fault:
            reason = str(fault)
    if isinstance(theirs, str):
        return MethodRecord(None, theirs)
    finding = _judge_interactions(tested, "XGBoost's interactions", theirs, theirs, tested.explanation)
    if finding.fault is not None:
        return MethodRecord(None, "; ".join(filter(None, (reason, finding.fault))))
    return MethodRecord(XGBOOST, reason, finding.difference, finding.residual)


def _verify_kernels_interactions(
    tested: ModelUnderTest, compiled: Compiled, rows: int, theirs: Floats | str
) -> MethodRecord:
    """Return the kernel's record. Raises NotCoveredError with its fault."""
    assert tested.library is not None
    few = tested.rows[:rows]
    explanation = Explainer(compiled, tested.library).explain(few)
    explainer = InteractionExplainer(compiled, tested.library)
    started = time.thread_time()
    got = explainer.matrices(few, explanation)
    cost = round((time.thread_time() - started) / rows * 1e6, 2)
    xgboosts = got if isinstance(theirs, str) else theirs
    what = f"the {explainer.kernel.name} kernel's interactions"
    finding = _judge_interactions(tested, what, got, xgboosts, explanation)
    if finding.fault is not None:
        raise NotCoveredError(finding.fault)
    return MethodRecord(explainer.kernel.engine, None, finding.difference, finding.residual, cost)


def _judge_interactions(
    tested: ModelUnderTest, what: str, got: Floats, xgboosts: Floats, explanation: Explanation
) -> Finding:
    """Compare interactions of the first trial rows with float64, and their sums with values."""
    scale = 1 + np.abs(got).max(axis=(2, 3), keepdims=True)
    apart = (np.abs(got - xgboosts) / scale).max(axis=(1, 2, 3))
    difference = 0.0
    for row in {0, min(1, len(got) - 1), int(np.argmax(apart))}:
        exact = tested.exact_interactions(row)
        if exact is not None:
            difference = max(difference, largest(got[row] - exact, scale[row]))
    sums = got.sum(axis=3, dtype=np.float64) - explanation[: len(got)].contributions
    return Finding.of(what, difference, largest(sums, scale[:, :, 0]))


def _xgboosts_interactions(tested: ModelUnderTest, rows: int) -> Floats | str:
    """Return XGBoost's interactions of the first trial rows, or why it has none."""
    try:
        return tested.predictor.interactions(tested.rows[:rows], tested.explanation[:rows], Interactions())
    except EngineError:
        return tested.unread or "XGBoost gives no interactions of this model"
