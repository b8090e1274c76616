"""Statistics of the SHAP values of any number of rows, per output and feature.

A batch's moments are exact (two passes in float64), and merged without loss by the formulas of Chan, Golub and LeVeque
(Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979), for any number of parts at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from shared.explanation import Matrix

#: Columns and numbers per block: temporary arrays stay small for wide models and large batches, and below the size that
#: glibc requests from the kernel each time, which takes longer than the moments.
BLOCK_FEATURES, BLOCK_NUMBERS = 256, 16_000
#: A spread below this share of the mean is the rounding of a constant.
ROUNDING = 1e-12

type Table = NDArray[np.float64]


class Of(IntEnum):
    """The last axis of a table. `SPREAD` is the sum of squared distances from the mean."""

    ABS_MEAN = 0
    MEAN = 1
    SPREAD = 2
    LEAST = 3
    MOST = 4
    #: Rows in which the feature has a value, and over those: the value, the SHAP value, and their co-moment.
    PRESENT = 5
    X_MEAN = 6
    X_SPREAD = 7
    PRESENT_MEAN = 8
    PRESENT_SPREAD = 9
    CO_SPREAD = 10


#: The two means of which each spread sums the distances' products.
_SPREADS = {
    Of.SPREAD: (Of.MEAN, Of.MEAN),
    Of.X_SPREAD: (Of.X_MEAN, Of.X_MEAN),
    Of.PRESENT_SPREAD: (Of.PRESENT_MEAN, Of.PRESENT_MEAN),
    Of.CO_SPREAD: (Of.X_MEAN, Of.PRESENT_MEAN),
}


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of so many rows. `table` has shape (outputs, features, len(Of)), float64."""

    rows: int
    table: Table

    @classmethod
    def of(cls, features: Matrix, values: Matrix) -> Moments:
        """Take the moments of some rows, at least one.

        `features` has shape (rows, features), NaN is missing; `values` has shape (rows, outputs, features).
        """
        step = max(1, BLOCK_NUMBERS // min(BLOCK_FEATURES, values.shape[2]))
        parts = []
        for start in range(0, len(values), step):
            parts.append(cls._of_rows(features[start : start + step], values[start : start + step]))
            os.sched_yield()  # inline requests go first
        return cls.merged(parts)

    @classmethod
    def _of_rows(cls, features: Matrix, values: Matrix) -> Moments:
        rows, outputs, width = values.shape
        table = np.empty((outputs, width, len(Of)))
        for start in range(0, width, BLOCK_FEATURES):
            block = slice(start, start + BLOCK_FEATURES)
            x = features[:, block].astype(np.float64)
            for output in range(outputs):
                table[output, block] = _of_block(x, values[:, output, block].astype(np.float64))
        return cls(rows, table)

    @classmethod
    def merged(cls, parts: Sequence[Moments]) -> Moments:
        """Return the moments of all rows of at least one part."""
        tables = np.stack([part.table for part in parts])
        rows = np.array([part.rows for part in parts], dtype=np.float64)
        merged = _merge(rows[:, np.newaxis, np.newaxis], {column: tables[..., column] for column in Of})
        return cls(sum(part.rows for part in parts), merged)

    @property
    def mean_abs(self) -> Table:
        """Mean of |SHAP value|: (outputs, features)."""
        return self.table[..., Of.ABS_MEAN]

    @property
    def deviation(self) -> Table:
        """Standard deviation of the SHAP values over all rows: (outputs, features)."""
        deviation: Table = np.sqrt(self.table[..., Of.SPREAD] / self.rows)
        return deviation

    @property
    def missing(self) -> NDArray[np.int64]:
        """Rows without a value of the feature: (outputs, features), the same for each output."""
        return self.rows - self.table[..., Of.PRESENT].astype(np.int64)

    @property
    def correlation(self) -> Table:
        """Pearson's correlation of SHAP and feature values: (outputs, features).

        Over the rows with a value; NaN if either is constant.
        """
        table = self.table
        varies = _varies(table, Of.X_MEAN, Of.X_SPREAD) & _varies(table, Of.PRESENT_MEAN, Of.PRESENT_SPREAD)
        scale = np.sqrt(table[..., Of.X_SPREAD]) * np.sqrt(table[..., Of.PRESENT_SPREAD])
        correlation = np.full(scale.shape, np.nan)
        np.divide(table[..., Of.CO_SPREAD], scale, out=correlation, where=varies)
        return np.clip(correlation, -1.0, 1.0, out=correlation)


def _of_block(x: Table, phi: Table) -> Table:
    """Return (features, Of) of `x` and `phi`, both (rows, features)."""
    present = ~np.isnan(x)
    of_rows = {
        Of.ABS_MEAN: np.abs(phi),
        Of.MEAN: phi,
        Of.LEAST: phi,
        Of.MOST: phi,
        Of.PRESENT: present.astype(np.float64),
        Of.X_MEAN: np.where(present, x, 0.0),
        Of.PRESENT_MEAN: phi,
    }
    return _merge(np.ones((len(x), 1)), of_rows)


def _merge(rows: Table, parts: Mapping[Of, Table]) -> Table:
    """Return the table of all parts along the first axis, of so many rows each.

    Without spreads, a part is one row.
    """
    present = parts[Of.PRESENT]
    counts = {Of.ABS_MEAN: rows, Of.MEAN: rows, Of.X_MEAN: present, Of.PRESENT_MEAN: present}
    table = np.empty((*present.shape[1:], len(Of)))
    table[..., Of.PRESENT] = present.sum(axis=0)
    table[..., Of.LEAST], table[..., Of.MOST] = parts[Of.LEAST].min(axis=0), parts[Of.MOST].max(axis=0)
    off = {}
    for mean, count in counts.items():
        # If no row has a value, all sums are 0.
        table[..., mean] = (count * parts[mean]).sum(axis=0) / np.maximum(count.sum(axis=0), 1.0)
        off[mean] = parts[mean] - table[..., mean]
    for spread, (one, other) in _SPREADS.items():
        between = (counts[one] * off[one] * off[other]).sum(axis=0)
        table[..., spread] = between + parts[spread].sum(axis=0) if spread in parts else between
    return table


def _varies(table: Table, mean: Of, spread: Of) -> NDArray[np.bool_]:
    rounding = np.square(ROUNDING * table[..., mean]) * table[..., Of.PRESENT]
    varies: NDArray[np.bool_] = table[..., spread] > rounding
    return varies
