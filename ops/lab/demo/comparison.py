"""Compares each value with XGBoost's own, and each row's sum with its prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: How far a value may be from XGBoost's own, relative to the row's largest value or 1.
VALUE_TOLERANCE = 1e-5
#: How far a row's sum may be from its prediction, relative to the prediction or 1: float32 sums.
ADDITIVITY_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Comparison:
    """The largest differences found, and what is wrong first, if anything is."""

    largest_difference: float
    largest_residual: float
    fault: str | None


def compare(
    values: NDArray[np.float32],
    reference: NDArray[np.float32],
    predictions: NDArray[np.float32],
    features: list[str],
) -> Comparison:
    """Compare rows x outputs x (features + 1), base value last, and the sums with the margins."""
    if values.shape != reference.shape or predictions.shape != values.shape[:2]:
        fault = f"The result has the shape {values.shape}, XGBoost's own is {reference.shape}."
        return Comparison(np.inf, np.inf, fault)
    theirs = reference.astype(np.float64)
    difference = _far_if_not_finite(np.abs(values - theirs))
    residual = _far_if_not_finite(np.abs(values.astype(np.float64).sum(axis=2) - predictions))
    allowed = VALUE_TOLERANCE * np.maximum(1.0, np.abs(theirs).max(axis=2, keepdims=True))
    allowed_residual = ADDITIVITY_TOLERANCE * np.maximum(1.0, np.abs(predictions))
    wrong: str | None = None
    if (difference > allowed).any():
        row, output, column = (int(index) for index in np.argwhere(difference > allowed)[0])
        name = [*features, "base value"][column]
        wrong = (
            f"Row {row}, {name}, output {output}: the appliance gives {values[row, output, column]}, "
            f"XGBoost {reference[row, output, column]}."
        )
    elif (residual > allowed_residual).any():
        row, output = (int(index) for index in np.argwhere(residual > allowed_residual)[0])
        wrong = f"Row {row}, output {output}: the values do not add up to the prediction, by {residual[row, output]:.3g}."
    return Comparison(float(difference.max()), float(residual.max()), wrong)


def _far_if_not_finite(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(distances), distances, np.inf)
