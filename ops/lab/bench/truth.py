"""Exact SHAP values in float64, leaf by leaf with polynomials: the reference for errors.

A leaf of value v gives feature i  v (b_i - r_i) times the sum over subsets of its path's other features of Shapley's weight and
of each one's bit (if it is in) or ratio of cover (if it is not). The sums over subsets of one size are the coefficients of the
product of (r + b z) over the others. All leaves of a tree with as many features are done at once.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Doubles = NDArray[np.float64]
type Bits = NDArray[np.bool_]

#: XGBoost never lets a side have less of its node's cover.
LEAST_SHARE = 1e-12


@dataclass(frozen=True, slots=True)
class _Leaf:
    value: float
    #: By feature: which rows satisfy the path's splits on it, and the share of cover that they keep.
    path: dict[int, tuple[Bits, float]]


def exact_values(booster: Any, rows: NDArray[np.float32]) -> Doubles:
    """Return the values of a model with one output and without categories: rows x features."""
    model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]
    result = np.zeros(rows.shape, dtype=np.float64)
    for tree in model["trees"]:
        alike: dict[int, list[_Leaf]] = defaultdict(list)
        for leaf in _leaves(tree, rows):
            alike[len(leaf.path)].append(leaf)
        for features, leaves in alike.items():
            if features:
                _add(leaves, features, result)
    return result


def _leaves(tree: Any, rows: NDArray[np.float32]) -> Iterator[_Leaf]:
    lefts, rights = tree["left_children"], tree["right_children"]
    conditions = np.array(tree["split_conditions"]).astype(np.float32)
    covers = np.array(tree["sum_hessian"]).astype(np.float32).astype(np.float64)
    waiting: list[tuple[int, dict[int, tuple[Bits, float]]]] = [(0, {})]
    while waiting:
        node, path = waiting.pop()
        if lefts[node] < 0:
            yield _Leaf(float(conditions[node]), path)
            continue
        feature = tree["split_indices"][node]
        x = rows[:, feature]
        to_left = np.where(np.isnan(x), bool(tree["default_left"][node]), x < conditions[node])
        bits, ratio = path.get(feature, (np.ones(len(rows), dtype=np.bool_), 1.0))
        for child, side in ((lefts[node], to_left), (rights[node], ~to_left)):
            share = max(covers[child] / covers[node], LEAST_SHARE) if covers[node] > 0 else 0.5
            waiting.append((child, {**path, feature: (bits & side, ratio * share)}))


def _add(leaves: list[_Leaf], features: int, result: Doubles) -> None:
    bits = np.array([[bit for bit, _ in leaf.path.values()] for leaf in leaves]).astype(np.float64)
    ratios = np.array([[ratio for _, ratio in leaf.path.values()] for leaf in leaves])[:, :, None]
    places = np.array([list(leaf.path) for leaf in leaves])
    values = np.array([leaf.value for leaf in leaves])[:, None]
    for i in range(features):
        # The coefficients from power 0 on, each for all leaves and rows.
        polynomial = np.zeros((features, *bits[:, 0].shape))
        polynomial[0] = 1.0
        for j in (j for j in range(features) if j != i):
            polynomial[1:] = polynomial[1:] * ratios[:, j] + polynomial[:-1] * bits[:, j]
            polynomial[0] *= ratios[:, j]
        weights = [1 / (features * math.comb(features - 1, size)) for size in range(features)]
        found = values * (bits[:, i] - ratios[:, i]) * np.tensordot(weights, polynomial, 1)
        np.add.at(result.T, places[:, i], found)
