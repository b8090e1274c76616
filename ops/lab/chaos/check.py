"""Compares the rows of one result with the expected ones, and classifies each wrong row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: How far a value may be from XGBoost's own, relative to the row's largest or 1.
TOLERANCE = 1e-5
#: How far an interventional row's sum may be from XGBoost's margin, relative to it or 1: float32 sums.
SUM_TOLERANCE = 1e-3
#: Wrong rows that are looked for among all others, at most: each is compared with every row of the job.
MOST_SEARCHED = 500

type Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rows:
    """Wrong rows of a job. A misplaced row counts as duplicated: it is in another row's place."""

    wrong: int = 0
    duplicated: int = 0
    missing: int = 0
    said: str = ""

    @property
    def right(self) -> bool:
        """Whether every row is right."""
        return not (self.wrong or self.duplicated or self.missing)


def check_rows(given: Matrix, wanted: Matrix) -> Rows:
    """Compare rows x outputs x (features + 1). Rows beyond the last one are duplicates."""
    if given.shape[1:] != wanted.shape[1:]:
        return Rows(wrong=len(wanted), said=f"values have the shape {given.shape}, not {wanted.shape}")
    surplus, short = max(0, len(given) - len(wanted)), max(0, len(wanted) - len(given))
    flat = given[: len(wanted)].reshape(len(given) - surplus, -1)
    right_ones = wanted.reshape(len(wanted), -1)
    bad = np.flatnonzero(~_alike(flat, right_ones[: len(flat)]))
    empty = ~np.isfinite(flat[bad]).all(axis=1) | ~flat[bad].any(axis=1)
    foreign = [_holder(flat[row], right_ones) for row in bad[~empty][:MOST_SEARCHED]]
    duplicated = sum(holder is not None for holder in foreign)
    said = _describe(bad, empty, foreign, len(given), len(wanted)) if len(bad) or surplus or short else ""
    return Rows(
        wrong=int((~empty).sum()) - duplicated,
        duplicated=duplicated + surplus,
        missing=int(empty.sum()) + short,
        said=said,
    )


def check_sums(given: Matrix, margins: Matrix) -> str:
    """Compare the sums of each row and output with XGBoost's margins; return the faults."""
    apart = np.abs(given.sum(axis=2, dtype=np.float64) - margins)
    wrong = ~(apart <= SUM_TOLERANCE * np.maximum(1.0, np.abs(margins)))
    return (
        f"{int(wrong.sum())} sums are not XGBoost's margins, by up to {np.nanmax(apart):.3g}"
        if wrong.any()
        else ""
    )


def _alike(given: Matrix, wanted: Matrix) -> NDArray[np.bool_]:
    allowed = TOLERANCE * np.maximum(1.0, np.abs(wanted).max(axis=1, keepdims=True))
    # NaN is never within bounds, so it is wrong.
    return np.asarray((np.abs(given - wanted) <= allowed).all(axis=1))


def _holder(values: Matrix, wanted: Matrix) -> int | None:
    """Return the first row whose values these are."""
    found = np.flatnonzero(_alike(values[np.newaxis], wanted))
    return int(found[0]) if len(found) else None


def _describe(
    bad: NDArray[np.intp], empty: NDArray[np.bool_], foreign: list[int | None], given: int, wanted: int
) -> str:
    said = [] if given == wanted else [f"{given} rows were given for {wanted}"]
    if empty.any():
        said.append(f"{int(empty.sum())} rows without values, row {int(bad[empty][0])} first")
    if foreign:
        first = int(bad[~empty][0])
        whose = "nobody's" if foreign[0] is None else f"those of row {foreign[0]}"
        said.append(f"{int((~empty).sum())} rows with other values, row {first} first: they are {whose}")
    return "; ".join(said)
