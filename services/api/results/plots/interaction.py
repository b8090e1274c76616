"""Which other feature seems to change a feature's SHAP values most: the one that a dependence plot is coloured by.

The estimate of shap.utils.approximate_interactions: rows are ordered by the feature's value and cut into runs of at most
50; within each, where the feature hardly differs, the SHAP value's correlation with each other feature is taken, and
the absolute values are added up. The same for whether the other feature is missing; the larger sum counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Rows of a run at most, and runs at least.
RUN_ROWS, LEAST_RUNS = 50, 10
#: A feature whose values add up to less than this is taken for none.
NOTHING = 1e-8


def strongest_interaction(feature: int, features: NDArray[np.float32], values: NDArray[np.float32]) -> int:
    """Return the place of the other feature; `feature` itself where no other one goes with its SHAP values.

    `features` has shape (rows, features), NaN is missing; `values` has shape (rows,).
    """
    order = np.argsort(features[:, feature], kind="stable")
    others, phi = features[order].astype(np.float64), values[order].astype(np.float64)
    run = max(min(len(order) // LEAST_RUNS, RUN_ROWS), 1)
    missing = np.isnan(others)
    scores = np.maximum(_score(phi, others, run), _score(phi, missing.astype(np.float64), run))
    scores[feature] = 0.0
    best = int(np.argmax(scores))
    return best if scores[best] > 0 else feature


def _score(phi: NDArray[np.float64], others: NDArray[np.float64], run: int) -> NDArray[np.float64]:
    scores = np.zeros(others.shape[1])
    for start in range(0, len(phi), run):
        x, y = others[start : start + run], phi[start : start + run]
        x_off, y_off = x - x.mean(axis=0), y - y.mean()
        scale = np.sqrt(np.square(x_off).sum(axis=0) * np.square(y_off).sum())
        # A run in which the other feature is missing somewhere has a scale of NaN, and does not count.
        there = scale > 0
        scores[there] += np.abs(y_off @ x_off[:, there] / scale[there])
    sums = np.abs(others).sum(axis=0)
    return np.where(sums < NOTHING, 0.0, scores)
