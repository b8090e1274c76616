"""Calls engines: tells their faults from ours, and checks that their numbers add up.

An engine gets the same rows and the same model each time, so an exception in it would be raised again: the batch is not
tried again, and its worker is not to blame. Exceptions that say nothing about the engine pass through: memory that ran
out, and our own errors.

A residual is the difference between the base value plus the values of one row and output, and their margin, which
the engine computes in another way (from the trees' leaves, not from the values). It is relative to the largest of 1,
|margin| and the largest |value|: float32 cannot do better than some 1e-7 of these.

The compiled engine takes 1.5 microseconds for a row of 30 features, so there is first one product in float32 for all
rows, relative to 1 and |margin| alone. That can only make a residual too large, apart from float32's rounding (some 1e-7
of the values). Residuals up to CERTAIN by this measure are accepted; the others are computed again in float64.
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import EngineFaultError, ShapboxError
from shared.explanation import Explanation, Matrix

#: The largest residual that is accepted.
TOLERANCE = 1e-4
#: The largest residual by the quick measure that is accepted at once.
CERTAIN = 1e-5
#: Numbers that are checked at once: they stay in a processor's cache.
_NUMBERS_AT_ONCE = 1 << 16
#: Parts of the messages by which native libraries report that memory ran out, without a MemoryError.
_OUT_OF_MEMORY = ("bad_alloc", "annot allocate memory")
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
            if _ran_out_of_memory(fault):
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


def _ran_out_of_memory(fault: Exception) -> bool:
    if isinstance(fault, OSError) and fault.errno == errno.ENOMEM:
        return True
    return any(words in str(fault) for words in _OUT_OF_MEMORY)


@np.errstate(all="ignore")  # overflows and numbers that are not finite are found by their residual
def check_sums(explanation: Explanation, first_row: int = 0) -> float:
    """Return the largest residual of an explanation.

    Raises SumsDifferError, which names the worst row (counted from `first_row`), if it is above TOLERANCE or a number is
    not finite.
    """
    lines, outputs = explanation.lines, explanation.outputs
    contributions, margins = lines.contributions[:, 0], lines.margins[:, 0]
    ones = _ones(contributions.shape[1])

    def quick(some: slice) -> Matrix:
        sums = np.einsum("ij,j->i", contributions[some], ones)
        sums -= margins[some]
        return _relative(sums, margins[some])

    def exact(some: NDArray[np.intp]) -> NDArray[np.float64]:
        part = Explanation(lines.array[some])
        return _or_infinite(np.abs(_gaps(part)) / np.maximum(1.0, _scale(part)), part.array)

    residual, worst = _find_largest(quick, exact, len(lines), lines.array.shape[2])
    if residual <= TOLERANCE:
        return residual
    line = lines[worst : worst + 1]
    off = f"are {abs(_gaps(line)[0]):.2g} off their margin"
    raise _fault("values", off, line.array, first_row * outputs + worst, outputs)


@np.errstate(all="ignore")
def check_interactions(matrices: Matrix, explanation: Explanation, first_row: int = 0) -> float:
    """Return the largest residual of matrices (rows, outputs, features + 1, features + 1).

    Each line adds up to the feature's value in `explanation`, the last one to the base value; the residual is relative also
    to the matrix's largest number. Raises as `check_sums` does.

    Top pairs have no sums, so of the compiled engine's top pairs only the values beside them are checked. XGBoost
    chooses them from whole matrices, which are checked.
    """
    size, outputs = matrices.shape[2], explanation.outputs
    squares, lines = matrices.reshape(-1, size, size), explanation.lines
    contributions, margins = lines.contributions[:, 0], lines.margins[:, 0]

    def quick(some: slice) -> Matrix:
        sums = np.einsum("ij,j->i", squares[some].reshape(-1, size), _ones(size)).reshape(-1, size)
        sums -= contributions[some]
        return _relative(np.abs(sums).max(axis=1), margins[some])

    def exact(some: NDArray[np.intp]) -> NDArray[np.float64]:
        square = squares[some].astype(np.float64)
        off = np.abs(square.sum(axis=2) - contributions[some]).max(axis=1)
        scale = np.maximum(_scale(Explanation(lines.array[some])), np.abs(square).max(axis=(1, 2)))
        return _or_infinite(off / np.maximum(1.0, scale), square)

    residual, worst = _find_largest(quick, exact, len(squares), size**2)
    if residual <= TOLERANCE:
        return residual
    numbers = squares[worst].astype(np.float64)
    gaps = np.abs(numbers.sum(axis=1) - contributions[worst])
    feature = gaps.argmax()
    of = "the base value" if feature == size - 1 else f"the value of feature {feature}"
    off = f"are {gaps.max():.2g} off {of}"
    raise _fault("interactions", off, numbers, first_row * outputs + worst, outputs)


def _find_largest(
    quick: Callable[[slice], Matrix],
    exact: Callable[[NDArray[np.intp]], NDArray[np.float64]],
    entries: int,
    width: int,
) -> tuple[float, int]:
    """Return the largest residual of all entries (of `width` numbers each), and its entry."""
    largest, place = 0.0, 0
    at_once = max(1, _NUMBERS_AT_ONCE // width)
    for begin in range(0, entries, at_once):
        residuals = quick(slice(begin, begin + at_once))
        most = residuals.max()
        if not most <= CERTAIN:  # NaN is not
            doubtful = np.flatnonzero(~(residuals <= CERTAIN))
            residuals[doubtful] = exact(begin + doubtful)
            most = residuals.max()
        if most > largest:
            largest, place = float(most), begin + int(residuals.argmax())
    return largest, place


def _relative(gaps: Matrix, margins: Matrix) -> Matrix:
    """Divide the gaps by the quick measure, in place."""
    scale = np.abs(margins)
    np.maximum(scale, np.float32(1), out=scale)
    np.abs(gaps, out=gaps)
    gaps /= scale
    return gaps


def _gaps(lines: Explanation) -> NDArray[np.float64]:
    """Return the sum of each line's values and base value, less its margin."""
    return np.asarray(lines.contributions[:, 0].sum(axis=1, dtype=np.float64) - lines.margins[:, 0])


def _scale(lines: Explanation) -> NDArray[np.float64]:
    """Return the largest absolute number of each line, the base value left out."""
    values = np.abs(lines.values[:, 0]).max(axis=1, initial=0)
    return np.asarray(np.maximum(np.abs(lines.margins[:, 0]), values), dtype=np.float64)


def _or_infinite(residuals: NDArray[np.float64], numbers: NDArray[Any]) -> NDArray[np.float64]:
    """Return the residuals, with infinity for lines in which a number is not finite."""
    return np.where(np.isfinite(numbers).all(axis=tuple(range(1, numbers.ndim))), residuals, np.inf)


def _fault(noun: str, off: str, numbers: NDArray[Any], place: int, outputs: int) -> SumsDifferError:
    row, output = divmod(place, outputs)
    says = off if np.isfinite(numbers).all() else "are not all finite numbers"
    return SumsDifferError(f"{noun} {says}" + (f" for output {output}" if outputs > 1 else ""), row)


@functools.lru_cache(maxsize=64)
def _ones(width: int) -> Matrix:
    """Return the vector that adds up a line."""
    return np.ones(width, dtype=np.float32)
