"""Statistics of the SHAP values of any number of rows, per output and feature.

A batch's moments are exact (two passes in float64), and merged without loss by the formulas of Chan, Golub and LeVeque
(Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979), for any number of parts at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

#: Columns and numbers per block: temporary arrays stay small for wide models and large batches, and below the size that
#: glibc requests from the kernel each time, which takes longer than the moments.
BLOCK_FEATURES, BLOCK_NUMBERS = 256, 16_000
#: A spread below this share of the mean is the rounding of a constant.
ROUNDING = 1e-12

type Table = NDArray[np.float64]
type Matrix = NDArray[np.float32]


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
        blocks = [slice(start, start + step) for start in range(0, len(values), step)]
        parts = []
        for block in blocks:
            parts.append(cls._of_rows(features[block], values[block]))
            os.sched_yield()  # inline requests go first
        return parts[0] if len(parts) == 1 else cls.merged(parts)

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
        rows = np.array([part.rows for part in parts], dtype=np.float64)
        tables = np.stack([part.table for part in parts], axis=-2)  # outputs x features x parts x Of
        merged = np.empty(parts[0].table.shape)
        merged[..., Of.ABS_MEAN] = tables[..., Of.ABS_MEAN] @ rows / rows.sum()
        merged[..., Of.MEAN], merged[..., Of.SPREAD] = _merge(
            np.broadcast_to(rows, tables.shape[:-1]), tables[..., Of.MEAN], tables[..., Of.SPREAD]
        )
        merged[..., Of.LEAST] = tables[..., Of.LEAST].min(axis=-1)
        merged[..., Of.MOST] = tables[..., Of.MOST].max(axis=-1)
        _merge_present(tables, merged)
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
    table = np.empty((x.shape[1], len(Of)))
    table[:, Of.ABS_MEAN] = np.abs(phi).mean(axis=0)
    table[:, Of.MEAN] = mean = phi.mean(axis=0)
    table[:, Of.SPREAD] = np.square(phi - mean).sum(axis=0)
    table[:, Of.LEAST], table[:, Of.MOST] = phi.min(axis=0), phi.max(axis=0)
    present = ~np.isnan(x)
    count = present.sum(axis=0)
    some = np.maximum(count, 1)  # if no row has a value, all sums are 0
    x_mean = np.where(present, x, 0.0).sum(axis=0) / some
    phi_mean = np.where(present, phi, 0.0).sum(axis=0) / some
    x_off, phi_off = np.where(present, x - x_mean, 0.0), np.where(present, phi - phi_mean, 0.0)
    table[:, Of.PRESENT] = count
    table[:, Of.X_MEAN], table[:, Of.X_SPREAD] = x_mean, np.square(x_off).sum(axis=0)
    table[:, Of.PRESENT_MEAN], table[:, Of.PRESENT_SPREAD] = phi_mean, np.square(phi_off).sum(axis=0)
    table[:, Of.CO_SPREAD] = (x_off * phi_off).sum(axis=0)
    return table


def _merge(counts: Table, means: Table, spreads: Table) -> tuple[Table, Table]:
    """Return mean and spread over the last axis, the parts."""
    mean, off = _off_mean(counts, means)
    return mean, spreads.sum(axis=-1) + (counts * np.square(off)).sum(axis=-1)


def _merge_present(tables: Table, merged: Table) -> None:
    counts = tables[..., Of.PRESENT]
    merged[..., Of.PRESENT] = counts.sum(axis=-1)
    merged[..., Of.X_MEAN], merged[..., Of.X_SPREAD] = _merge(
        counts, tables[..., Of.X_MEAN], tables[..., Of.X_SPREAD]
    )
    merged[..., Of.PRESENT_MEAN], merged[..., Of.PRESENT_SPREAD] = _merge(
        counts, tables[..., Of.PRESENT_MEAN], tables[..., Of.PRESENT_SPREAD]
    )
    _, x_off = _off_mean(counts, tables[..., Of.X_MEAN])
    _, phi_off = _off_mean(counts, tables[..., Of.PRESENT_MEAN])
    within = tables[..., Of.CO_SPREAD].sum(axis=-1)
    merged[..., Of.CO_SPREAD] = within + (counts * x_off * phi_off).sum(axis=-1)


def _off_mean(counts: Table, means: Table) -> tuple[Table, Table]:
    """Return the mean of all, and each part's distance from it."""
    mean: Table = (counts * means).sum(axis=-1) / np.maximum(counts.sum(axis=-1), 1.0)
    return mean, means - mean[..., np.newaxis]


def _varies(table: Table, mean: Of, spread: Of) -> NDArray[np.bool_]:
    rounding = np.square(ROUNDING * table[..., mean]) * table[..., Of.PRESENT]
    varies: NDArray[np.bool_] = table[..., spread] > rounding
    return varies
