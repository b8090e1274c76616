"""Interventional values by their definition: leaf by leaf, row by row, in float64.

The slow reference. It reads XGBoost's trees and nothing compiled, counts no patterns, and integrates where tables have
factorials: it shares only the definition with `shared.treeshap.interventional`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.treeshap.forest import Tree
from shared.treeshap.tables import Doubles, exact_points, rule

type Floats = NDArray[np.float32]
type Bits = NDArray[np.bool_]
#: Each feature of a path: whether the row explained satisfies its splits, and which background rows do.
type Path = dict[int, tuple[bool, Bits]]


def values_of_tree(tree: Tree, row: Floats, background: Floats) -> Doubles:
    """Return a tree's values of a row, the mean over the background rows: (features,)."""
    given = np.zeros(len(row))
    waiting: list[tuple[int, Path, Bits]] = [(0, {}, np.ones(len(background), dtype=np.bool_))]
    while waiting:
        node, path, met = waiting.pop()
        if not met.any():  # no row reaches this node
            continue
        if tree.left[node] < 0:
            _add_leaf(float(tree.value[node]), path, met, given)
            continue
        feature = int(tree.feature[node])
        own = bool(_goes_left(tree, node, row[feature : feature + 1])[0])
        others = _goes_left(tree, node, background[:, feature])
        before, those_before = path.get(feature, (True, np.ones(len(background), dtype=np.bool_)))
        for child, kept, those in ((tree.left[node], own, others), (tree.right[node], not own, ~others)):
            satisfied, by = before and kept, those_before & those
            waiting.append((int(child), {**path, feature: (satisfied, by)}, met & (by | satisfied)))
    return given


def _goes_left(tree: Tree, node: int, x: Floats) -> Bits:
    if node in tree.categories:
        left = ~((x >= 0) & np.isin(np.trunc(x), tree.categories[node]))
    else:
        left = x < tree.value[node]
    return np.where(np.isnan(x), tree.default_left[node], left)


def _add_leaf(value: float, path: Path, met: Bits, given: Doubles) -> None:
    """Add a leaf's values.

    They are the integral over t from 0 to 1 of the product of t, 1 - t or 1 for all other features.
    """
    if not path:
        return
    own = np.array([satisfied for satisfied, _ in path.values()], dtype=np.float64)[:, None]
    others = np.array([by[met] for _, by in path.values()], dtype=np.float64)
    integral = np.zeros_like(others)
    for at, weight in zip(*rule(exact_points(len(path))), strict=True):
        factors = at * own + (1 - at) * others  # none is 0 where the leaf was met
        integral += weight * factors.prod(axis=0) / factors
    given[list(path)] += value * ((own - others) * integral).sum(axis=1) / len(met)
