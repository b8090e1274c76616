"""Calls engines: tells their faults from ours, and checks that their numbers add up.

An engine gets the same rows and the same model each time, so an exception in it would be raised again: the batch is not
tried again, and its worker is not to blame. Exceptions that say nothing about the engine pass through: memory that ran
out, and our own errors.

A residual is the difference between the base value plus the values of one row and output, and their margin, which
the engine computes in another way (from the trees' leaves, not from the values). It is relative to the largest of 1,
|margin| and the largest |value|: float32 cannot do better than some 1e-7 of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from shared.errors import EngineFaultError, ShapboxError
from shared.explanation import Explanation, Matrix
from shared.memory import ran_out_of_memory

#: The largest residual that is accepted.
TOLERANCE = 1e-4
#: A residual up to which float32 is exact enough. There it is relative to the largest of 1 and |margin| alone.
CERTAIN = 1e-5
#: Numbers that are checked at once: they stay in a processor's cache.
_NUMBERS_AT_ONCE = 1 << 16
#: The advice for every fault of an engine.
ADVICE = (
    "This is a fault of the engine: please report it, with the model if you can. Until then another method may explain the "
    "same rows; `python -m ops.models verify` checks the model."
)


class SumsDifferError(EngineFaultError):
    """Numbers of an engine do not add up: `what` is the fault, `row` its row in the call."""

    def __init__(self, what: str, row: int, subject: str = "The engine's") -> None:
        super().__init__(f"{subject} {what} in row {row}; no result was stored. {ADVICE}")
        self.what = what
        self.row = row

    def of(self, engine: str, model: str, first_row: int) -> SumsDifferError:
        """Return the same fault with the engine, the model, and the row's number in its job."""
        what = self.what.replace(" ", f" of model {model} ", 1)
        return SumsDifferError(what, first_row + self.row, f"The {engine} engine's")


@dataclass(slots=True)
class EngineCalls:
    """Calls one engine for rows of one model, which begin at row `first_row` of their job."""

    engine: str
    model: str
    first_row: int = 0
    #: The largest residual of all results so far.
    largest_residual: float = field(default=0.0, init=False)

    def call[**P, T](self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function of the engine. Raises EngineFaultError if it fails, or MemoryError."""
        try:
            return function(*args, **kwargs)
        except SumsDifferError as fault:
            raise fault.of(self.engine, self.model, self.first_row) from fault
        except (ShapboxError, MemoryError):
            raise
        except Exception as fault:
            if ran_out_of_memory(fault):
                raise MemoryError(str(fault)) from fault
            raise EngineFaultError(
                f"The {self.engine} engine failed while it explained rows of model {self.model} "
                f"({type(fault).__name__}: {fault}); no result was stored. {ADVICE}"
            ) from fault

    def explain(self, explain: Callable[[Matrix], Explanation], rows: Matrix, before: int = 0) -> Explanation:
        """Return the rows' explanation, with its sums checked. Raises as `call` does.

        `before` is the number of rows that earlier calls explained.
        """
        explanation = self.call(explain, rows)
        self._note(self.call(check_sums, explanation, before))
        return explanation

    def check_matrices(self, matrices: Matrix, explanation: Explanation) -> None:
        """Check matrices of interactions against the rows' explanation. Raises as `call` does."""
        self._note(self.call(check_interactions, matrices, explanation))

    def _note(self, residual: float) -> None:
        self.largest_residual = max(self.largest_residual, residual)


def check_sums(explanation: Explanation, first_row: int = 0) -> float:
    """Return the largest residual of an explanation.

    Raises SumsDifferError, which names the worst row (counted from `first_row`), if it is above TOLERANCE or a number is
    not finite.
    """
    lines = explanation.lines
    sized = (lines.margins, lines.values)
    worst = _find_worst(lines.contributions, lines.margins, sized)
    return worst.accept("values", "their margin", first_row, explanation.outputs)


def check_interactions(matrices: Matrix, explanation: Explanation, first_row: int = 0) -> float:
    """Return the largest residual of matrices (rows, outputs, features + 1, features + 1).

    Each line adds up to the feature's value in `explanation`, the last one to the base value; the residual is relative also
    to the matrix's largest number. Raises as `check_sums` does.

    Top pairs have no sums, so of the compiled engine's top pairs only the values beside them are checked. XGBoost
    chooses them from whole matrices, which are checked.
    """
    size, lines = matrices.shape[2], explanation.lines
    squares = matrices.reshape(-1, size, size)
    worst = _find_worst(squares, lines.contributions[:, 0], (lines.margins, lines.values, squares))
    of = "the base value" if worst.sum == size - 1 else f"the value of feature {worst.sum}"
    return worst.accept("interactions", of, first_row, explanation.outputs)


@dataclass(frozen=True, slots=True)
class _Worst:
    """The largest residual, how far the sum is off, and which sum of which line it is."""

    residual: float = 0.0
    off: float = 0.0
    line: int = 0
    sum: int = 0

    def accept(self, noun: str, of: str, first_row: int, outputs: int) -> float:
        """Return the residual. Raises SumsDifferError if it is above the tolerance."""
        if self.residual <= TOLERANCE:
            return self.residual
        row, output = divmod(first_row * outputs + self.line, outputs)
        says = f"are {self.off:.2g} off {of}" if np.isfinite(self.off) else "are not all finite numbers"
        raise SumsDifferError(f"{noun} {says}" + (f" for output {output}" if outputs > 1 else ""), row)


@np.errstate(all="ignore")  # numbers that are not finite are found by their residual
def _find_worst(numbers: Matrix, sums: Matrix, sized: Sequence[Matrix]) -> _Worst:
    """Find the sum that is furthest from its value.

    `numbers` are (lines, sums, numbers), and `sums` (lines, sums). The residual is relative to the line's largest
    number in `sized`, whose first part holds the margins.
    """
    found, ones = _Worst(), np.ones(numbers.shape[2], np.float32)
    at_once = max(1, _NUMBERS_AT_ONCE // (numbers.shape[1] * numbers.shape[2]))
    for begin in range(0, len(numbers), at_once):
        some = slice(begin, begin + at_once)
        # By far most blocks need no more than this, which takes a third of the time.
        quick = np.einsum("lsn,n->ls", numbers[some], ones)
        most = float((np.abs(quick - sums[some]) / np.maximum(1, np.abs(sized[0][some]))).max())
        if most <= CERTAIN:  # NaN is not
            found = max(found, _Worst(most), key=lambda worst: worst.residual)
            continue
        gaps = np.abs(np.einsum("lsn->ls", numbers[some], dtype=np.float64) - sums[some])
        scales = [np.abs(part[some]).reshape(len(gaps), -1).max(axis=1, initial=1) for part in sized]
        residuals = gaps.max(axis=1) / np.max(scales, axis=0)
        residuals[np.isnan(residuals)] = np.inf
        line = int(residuals.argmax())
        if residuals[line] > found.residual:
            off = int(gaps[line].argmax())
            found = _Worst(float(residuals[line]), float(gaps[line, off]), begin + line, off)
    return found
