"""Interventional values by the same tables: the background enters when they are made, all of it, and costs rows nothing.

Against one background row a leaf of value v depends on two bits for each feature of its path: whether the row explained
satisfies the path's splits on it, and whether the background row does. With X the features that only the first satisfies and
Y those that only the second does, the leaf gives each of X  v (|X| - 1)! |Y|! / (|X| + |Y|)!  and takes
v |X|! (|Y| - 1)! / (|X| + |Y|)!  from each of Y, unless neither row satisfies some feature: then it gives nothing. So how
often each pattern occurs among the background rows is all that a table needs to know of them.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.forest import CATEGORIES_END, NotCoveredError
from shared.treeshap.tables import Doubles, bits_of

#: Nodes whose tables are made at once.
_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class _Patterns:
    """How the background rows meet a node: the share of each pattern of the bits above, and over them of going left."""

    node: int
    shares: Doubles


def against_background(compiled: Compiled, background: NDArray[np.float32]) -> Compiled:
    """Return a path-dependent compiled model's twin whose values are measured against background rows.

    Raises NotCoveredError where a tree has no tables: the quadrature needs features to be independent.
    """
    inner = compiled.trees["nodes"] > 0
    if not np.all(compiled.trees["has_tables"][inner]):
        raise NotCoveredError("a tree is too deep for tables, or they are too large")
    if not len(background):
        raise NotCoveredError("there are no background rows")
    tables = np.zeros_like(compiled.tables)
    mean = compiled.start.astype(np.float64)
    groups: dict[tuple[int, int], list[_Patterns]] = defaultdict(list)
    for output in range(compiled.outputs):
        for tree in compiled.trees[compiled.first_tree[output] : compiled.first_tree[output + 1]]:
            mean[output] += float(tree["leaf"])
            for found in _meet(compiled, tree, background):
                node = compiled.nodes[found.node]
                mean[output] += _mean_of_leaves(node, found.shares)
                groups[int(node["above"]), _place(node)].append(found)
    for (known, place), nodes in groups.items():
        for begin in range(0, len(nodes), _AT_ONCE):
            _fill(tables, compiled, known, place, nodes[begin : begin + _AT_ONCE])
    trees = compiled.trees.copy()
    trees["has_tables"] = np.where(inner, layout.ONLY_TABLES, 0)
    return replace(compiled, trees=trees, tables=tables, base=mean.astype(np.float32))


def _place(node: Any) -> int:
    """Return where a repeated feature stands on the path, or -1 for a new one."""
    return int(node["bit"]) if node["flags"] & layout.REPEATED else -1


def _meet(compiled: Compiled, tree: Any, background: NDArray[np.float32]) -> Iterator[_Patterns]:
    """Send the background rows down a tree; yield each node that has a leaf below it."""
    waiting = {int(tree["first"]): np.zeros(len(background), dtype=np.int64)}
    for at in range(tree["first"], tree["first"] + tree["nodes"]):
        node, bits = compiled.nodes[at], waiting.pop(at)
        left = _goes_left(compiled, node, background[:, compiled.columns[node["column"]]])
        own = 1 << int(node["bit"])
        for child, side in ((int(node["left"]), left), (int(node["right"]), ~left)):
            if child >= 0:
                kept = bits & ~own if node["flags"] & layout.REPEATED else bits | own
                changes = ~side if node["flags"] & layout.REPEATED else side
                waiting[child] = np.where(changes, kept, bits)
        if node["table"] >= 0:
            above = int(node["above"])
            counts = np.bincount(bits | left.astype(np.int64) << above, minlength=2 << above)
            yield _Patterns(at, counts / len(background))


def _goes_left(compiled: Compiled, node: Any, x: NDArray[np.float32]) -> NDArray[np.bool_]:
    missing = np.isnan(x)
    if not node["flags"] & layout.CATEGORICAL:
        left = x < node["threshold"]
    else:
        words = compiled.categories[node["categories"] : node["categories"] + node["words"]]
        valid = (x >= 0) & (x < min(32 * len(words), CATEGORIES_END))
        category = np.where(valid, x, 0).astype(np.int64)
        left = ~(valid & (words[category // 32] >> (category % 32).astype(np.uint32) & 1).astype(np.bool_))
    return np.where(missing, bool(node["flags"] & layout.DEFAULT_LEFT), left)


def _mean_of_leaves(node: Any, shares: Doubles) -> float:
    all_above = (1 << int(node["above"])) - 1
    to_right, to_left = shares[all_above], shares[all_above | 1 << int(node["above"])]
    return float(
        (node["left"] < 0) * to_left * float(node["left_value"])
        + (node["right"] < 0) * to_right * float(node["right_value"])
    )


def _fill(
    tables: NDArray[np.float32], compiled: Compiled, known: int, place: int, found: list[_Patterns]
) -> None:
    """Make the tables of nodes that have as many features above and repeat the same one, or none."""
    nodes = compiled.nodes[[one.node for one in found]]
    shares = np.array([one.shares for one in found])
    bits = bits_of(known + 1)
    features, size = known + (place < 0), 2 << known
    made = np.zeros((len(found), size, features))
    for name, side in (("left", bits[:, -1]), ("right", ~bits[:, -1])):
        own = np.column_stack([bits[:, :known], side]) if place < 0 else bits[:, :known].copy()
        if place >= 0:
            own[:, place] &= side
        index = own @ (1 << np.arange(features))
        patterns = shares @ (index[:, None] == np.arange(1 << features))
        values = np.where(nodes[name] < 0, nodes[f"{name}_value"], 0).astype(np.float64)
        made += (values[:, None, None] * np.einsum("nc,bjc->nbj", patterns, _effects(features)))[:, index, :]
    rows = np.zeros((len(found), features, max(size, layout.TABLE_ROW)), dtype=np.float32)
    rows[:, :, :size] = made.swapaxes(1, 2)
    places = nodes["table"].astype(np.int64)[:, None] * layout.TABLE_ROW + np.arange(rows[0].size)
    tables[places] = rows.reshape(len(found), -1)


@functools.cache
def _effects(features: int) -> Doubles:
    """Return what a leaf of value 1 gives each feature, by the bits of the row and of a background row: [b, j, c]."""
    bits = bits_of(features)
    row, other = bits[:, None, :], bits[None, :, :]
    gains, takes = row & ~other, ~row & other
    x, y = gains.sum(axis=2), takes.sum(axis=2)
    weight = np.array([[_weight(i, j) for j in range(features + 1)] for i in range(features + 1)])
    possible = (row | other).all(axis=2)
    found = possible[:, :, None] * (gains * weight[x, y][:, :, None] - takes * weight[y, x][:, :, None])
    return np.asarray(found, dtype=np.float64).swapaxes(1, 2)


def _weight(own: int, others: int) -> float:
    """Return (own - 1)! others! / (own + others)!, the share of one of `own` features."""
    return math.factorial(own - 1) * math.factorial(others) / math.factorial(own + others) if own else 0.0
