"""Checks that an engine's numbers add up, before anybody gets them: every batch of every engine.

A residual is how far the base value and the contributions of one row and output are from the margin next to them, which
the engine got in another way (from the trees' leaves, not from the contributions). It is relative to the largest of 1,
|margin| and the largest |contribution|: float32 cannot do better than some 1e-7 of these.

The compiled engine takes 1.5 microseconds for a row of 30 features, so there is one product in float32 for all rows. It is
measured against 1 and |margin| alone. That can make a residual too large, and float32's rounding (some 1e-7 of the
contributions) goes with it. What is below CERTAIN by this measure is taken as it is; all else is computed again in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import EngineFaultError

type Matrix = NDArray[np.float32]

#: The largest residual that is accepted.
TOLERANCE = 1e-4
#: A residual by the quick measure that needs no second look.
CERTAIN = 1e-5
#: Numbers that are looked at in one go: they stay in a processor's cache.
_NUMBERS_AT_ONCE = 1 << 16
#: What to do about it: the same for all that an engine gets wrong.
ADVICE = (
    "This is a fault of the engine: please report it, with the model if you can. Until then another method may explain the "
    "same rows; `python -m ops.models verify` checks the model."
)


class SumsDifferError(EngineFaultError):
    """Numbers of an engine do not add up. `what` says how, `row` in which of the rows that were checked."""

    def __init__(self, what: str, row: int, subject: str = "The engine's") -> None:
        super().__init__(f"{subject} {what} in row {row}; no result was stored. {ADVICE}")
        self.what = what
        self.row = row

    def of(self, engine: str, model: str, first_row: int) -> SumsDifferError:
        """Return the same fault, said of an engine and a model, with the row's number in its job."""
        what = self.what.replace(" ", f" of model {model} ", 1)
        return SumsDifferError(what, first_row + self.row, f"The {engine} engine's")


@np.errstate(all="ignore")  # what overflows or is no number is found by its residual
def check_sums(result: Matrix, first_row: int = 0) -> float:
    """Return the largest residual of a result: (rows, outputs, features + 2), with base value and margin last.

    Raises SumsDifferError, which names the worst row (counted from `first_row`), if it is above TOLERANCE or a number is not
    finite.
    """
    width = result.shape[2]
    lines = result.reshape(-1, width)

    def quick(some: slice) -> Matrix:
        return _relative(np.einsum("ij,j->i", lines[some], _signs(width)), lines[some, -1])

    def exact(some: NDArray[np.intp]) -> NDArray[np.float64]:
        numbers = lines[some].astype(np.float64)
        scale = np.maximum(1.0, _largest_of(numbers, but=-2))
        return _or_infinite(np.abs(numbers[:, :-1].sum(axis=1) - numbers[:, -1]) / scale, numbers)

    residual, line = _find_largest(quick, exact, len(lines), width)
    if residual <= TOLERANCE:
        return residual
    numbers = lines[line].astype(np.float64)
    off = f"are {abs(numbers[:-1].sum() - numbers[-1]):.2g} off their margin"
    raise _fault("values", off, numbers, first_row * result.shape[1] + line, result.shape[1])


@np.errstate(all="ignore")
def check_interactions(matrices: Matrix, result: Matrix, first_row: int = 0) -> float:
    """Return the largest residual of whole matrices: (rows, outputs, features + 1, features + 1).

    Each line adds up to the feature's contribution in `result` (as in `check_sums`), the last one to the base value; what is
    left over is relative also to the matrix's largest number. Raises as `check_sums` does.

    Top pairs have no sums, so of the compiled engine's top pairs only the contributions beside them are checked. XGBoost
    chooses them from whole matrices, which are checked.
    """
    size = matrices.shape[2]
    squares = matrices.reshape(-1, size, size)
    wanted = result.reshape(-1, size + 1)

    def quick(some: slice) -> Matrix:
        lines = squares[some].reshape(-1, size)
        gaps = np.einsum("ij,j->i", lines, _ones(size)).reshape(-1, size)
        gaps -= wanted[some, :-1]
        return _relative(np.abs(gaps).max(axis=1), wanted[some, -1])

    def exact(some: NDArray[np.intp]) -> NDArray[np.float64]:
        numbers = squares[some].astype(np.float64).reshape(len(some), -1)
        beside = wanted[some].astype(np.float64)
        off = np.abs(numbers.reshape(-1, size, size).sum(axis=2) - beside[:, :-1]).max(axis=1)
        scale = np.maximum(_largest_of(beside, but=-2), np.abs(numbers).max(axis=1))
        return _or_infinite(off / np.maximum(1.0, scale), numbers)

    residual, place = _find_largest(quick, exact, len(squares), size**2)
    if residual <= TOLERANCE:
        return residual
    numbers = squares[place].astype(np.float64)
    gaps = np.abs(numbers.sum(axis=1) - wanted[place, :-1])
    off = f"are {gaps.max():.2g} off the value of feature {gaps.argmax()}"
    if gaps.argmax() == size - 1:
        off = f"are {gaps.max():.2g} off the base value"
    raise _fault("interactions", off, numbers, first_row * result.shape[1] + place, result.shape[1])


def _find_largest(
    quick: Callable[[slice], Matrix],
    exact: Callable[[NDArray[np.intp]], NDArray[np.float64]],
    entries: int,
    width: int,
) -> tuple[float, int]:
    """Return the largest residual of all entries (of so many numbers each), and which one has it."""
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
    """Return the gaps by the quick measure, in their own place."""
    scale = np.abs(margins)
    np.maximum(scale, np.float32(1), out=scale)
    np.abs(gaps, out=gaps)
    gaps /= scale
    return gaps


def _largest_of(numbers: NDArray[np.float64], but: int) -> NDArray[np.float64]:
    """Return the largest absolute number of each line, one column (the base value) left out."""
    sizes = np.abs(numbers)
    sizes[:, but] = 0.0
    largest: NDArray[np.float64] = sizes.max(axis=1)
    return largest


def _or_infinite(residuals: NDArray[np.float64], numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the residuals, infinity where a line holds a number that is not finite."""
    return np.where(np.isfinite(numbers).all(axis=1), residuals, np.inf)


def _fault(noun: str, off: str, numbers: NDArray[Any], place: int, outputs: int) -> SumsDifferError:
    row, output = divmod(place, outputs)
    says = off if np.isfinite(numbers).all() else "are not all finite numbers"
    return SumsDifferError(f"{noun} {says}" + (f" for output {output}" if outputs > 1 else ""), row)


@functools.lru_cache(maxsize=64)
def _ones(width: int) -> Matrix:
    """Return what a line is multiplied by to add it up."""
    return np.ones(width, dtype=np.float32)


@functools.lru_cache(maxsize=64)
def _signs(width: int) -> Matrix:
    """Return what a line is multiplied by: contributions and base value by 1, the margin by -1."""
    signs = np.ones(width, dtype=np.float32)
    signs[-1] = -1
    signs.setflags(write=False)
    return signs
