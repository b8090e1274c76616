"""Checks values: each row adds up to its prediction, and each value is XGBoost's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

type Array = NDArray[np.float64]

#: How far a row's sum may be from its prediction, relative to the sum of its absolute values or 1. These are sums of
#: float32: XGBoost itself came to 1.4e-6 with 500 trees of depth 8.
SUM_TOLERANCE = 3e-6
#: How far a value may be from XGBoost's own here, in the same measure: the same sums, on another processor at most.
VALUE_TOLERANCE = 2e-6


@dataclass(frozen=True, slots=True)
class Values:
    """A result in float64: values (rows, features, outputs), base values and predictions."""

    values: Array
    base: Array
    predictions: Array

    @classmethod
    def of(cls, result: dict[str, Any], rows: int, features: int, outputs: int) -> Self:
        """Read a JSON result; null becomes NaN. Raises ValueError or KeyError for anything else."""
        values = _as_written(result["values"])
        if values.size != rows * features * outputs or len(values) != rows:
            raise ValueError(f"values of shape {values.shape} for {rows} rows of {features} features")
        each = [_as_written(result[name]) for name in ("base_values", "predictions")]
        return cls(values.reshape(rows, features, outputs), *(one.reshape(rows, outputs) for one in each))

    @classmethod
    def of_contributions(cls, contributions: NDArray[np.float32]) -> Self:
        """Take XGBoost's own: (rows, outputs, features + 1), base value last."""
        exact = contributions.astype(np.float64)
        return cls(exact[:, :, :-1].swapaxes(1, 2), exact[:, :, -1], exact.sum(axis=2))

    def scale(self) -> Array:
        """Return what differences are measured by: (rows, outputs)."""
        sums: Array = np.abs(self.values).sum(axis=1) + np.abs(self.base)
        return np.maximum(1.0, sums)


@dataclass(frozen=True, slots=True)
class Gap:
    """The worst difference relative to its place: size, place, and share of the tolerance."""

    size: float
    where: str
    share: float

    @property
    def allowed(self) -> bool:
        """Whether so much is allowed."""
        return self.share <= 1.0


def _as_written(numbers: Any) -> Array:
    """Read numbers written from float32 as float32: in float64 the digits mean other numbers."""
    return np.asarray(numbers, dtype=np.float32).astype(np.float64)


def gap_of_sums(given: Values, outputs: Sequence[str]) -> Gap:
    """Return how far the rows are from adding up to their predictions."""
    difference = given.values.sum(axis=1) + given.base - given.predictions
    place, size, share = _worst(difference, SUM_TOLERANCE * given.scale())
    row, output = place
    return Gap(size, f"row {row}{_of_output(outputs, output)}", share)


def gap_of_values(given: Values, wanted: Values, features: Sequence[str], outputs: Sequence[str]) -> Gap:
    """Return how far the values are from those that they should be."""
    difference = np.concatenate(
        [given.values - wanted.values, (given.base - wanted.base)[:, np.newaxis, :]], axis=1
    )
    allowed = np.broadcast_to(VALUE_TOLERANCE * wanted.scale()[:, np.newaxis, :], difference.shape)
    (row, column, output), size, share = _worst(difference, allowed)
    return Gap(size, f"row {row}, {[*features, 'base value'][column]}{_of_output(outputs, output)}", share)


def _worst(difference: Array, allowed: Array) -> tuple[tuple[int, ...], float, float]:
    # NaN and infinity count as the worst difference, also where the scale is 0.
    shares = np.abs(difference) / allowed
    shares[~np.isfinite(shares)] = np.inf
    place = tuple(int(index) for index in np.unravel_index(int(shares.argmax()), shares.shape))
    return place, float(np.abs(difference[place])), float(shares[place])


def _of_output(outputs: Sequence[str], output: int) -> str:
    return f", output {outputs[output]}" if len(outputs) > 1 else ""
