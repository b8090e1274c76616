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
from shared.treeshap.compiler import TABLE_BUDGET_MB
from shared.treeshap.forest import CATEGORIES_END, NotCoveredError
from shared.treeshap.tables import Doubles, bits_of

#: Nodes whose tables are made at once: bounds what that takes in float64.
_AT_ONCE = 128

type Bits = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Patterns:
    """How the background rows meet a node: the share of each pattern of the bits above, and over them of going left."""

    node: int
    shares: Doubles


@dataclass(frozen=True, slots=True)
class _Background:
    """The background rows, columns first as the model uses them, and where they are missing."""

    columns: NDArray[np.float32]
    missing: NDArray[np.bool_]

    @classmethod
    def of(cls, compiled: Compiled, rows: NDArray[np.float32]) -> _Background:
        columns = np.ascontiguousarray(rows[:, compiled.columns].T)
        return cls(columns, np.isnan(columns))


def against_background(
    compiled: Compiled, background: NDArray[np.float32], budget_mb: float = TABLE_BUDGET_MB
) -> Compiled:
    """Return a path-dependent compiled model's twin whose values are measured against background rows.

    Raises NotCoveredError where tables do not do: the quadrature needs features to be independent.
    """
    if not len(background):
        raise NotCoveredError("there are no background rows")
    nodes = compiled.nodes.copy()
    tables = np.zeros(_place_tables(nodes, budget_mb), dtype=np.float32)
    rows = _Background.of(compiled, background)
    mean = compiled.start.astype(np.float64)
    groups: dict[tuple[int, int], list[_Patterns]] = defaultdict(list)
    for output in range(compiled.outputs):
        for tree in compiled.trees[compiled.first_tree[output] : compiled.first_tree[output + 1]]:
            mean[output] += float(tree["leaf"])
            for found in _meet(compiled, int(tree["first"]), int(tree["nodes"]), rows):
                node = nodes[found.node]
                mean[output] += _mean_of_leaves(node, found.shares)
                repeated = node["flags"] & layout.REPEATED
                groups[int(node["above"]), int(node["bit"]) if repeated else -1].append(found)
    for (known, place), some in groups.items():
        for begin in range(0, len(some), _AT_ONCE):
            _fill(tables, nodes, known, place, some[begin : begin + _AT_ONCE])
    trees = compiled.trees.copy()
    trees["has_tables"] = np.where(trees["nodes"] > 0, layout.ONLY_TABLES, 0)
    trees["factors"] = -1  # they are quadrature's
    no_factors = np.zeros(0, dtype=np.float32)
    return replace(
        compiled, nodes=nodes, trees=trees, tables=tables, factors=no_factors, base=mean.astype(np.float32)
    )


def _place_tables(nodes: NDArray[Any], budget_mb: float) -> int:
    """Note where each node's table goes, of those that have a leaf below; return how many floats they take together."""
    above = nodes["above"].astype(np.int64)
    if above.max(initial=0) >= layout.MOST_BITS:
        raise NotCoveredError(
            f"a tree is too deep for tables: a leaf depends on more than {layout.MOST_BITS} bits"
        )
    features = above + (nodes["flags"] & layout.REPEATED == 0)
    sizes = np.maximum(layout.TABLE_ROW, 2 << above) * features
    has_leaf = (nodes["left"] < 0) | (nodes["right"] < 0)
    sizes = np.where(has_leaf, sizes, 0)
    floats = int(sizes.sum())
    if floats * 4 > budget_mb * 1e6:
        raise NotCoveredError(f"its tables are too large: {floats * 4e-6:.0f} MB, of {budget_mb:.0f}")
    nodes["table"] = np.where(has_leaf, (np.cumsum(sizes) - sizes) // layout.TABLE_ROW, -1)
    return floats


def _meet(compiled: Compiled, first: int, count: int, background: _Background) -> Iterator[_Patterns]:
    """Send the background rows down a tree; yield each node that has a leaf below it."""
    nodes = compiled.nodes[first : first + count]
    names = ("left", "right", "above", "bit", "flags")
    waiting = {first: np.zeros(background.columns.shape[1], dtype=np.uint8)}
    for at, (left, right, above, bit, flags) in enumerate(
        zip(*(nodes[name].tolist() for name in names), strict=True)
    ):
        bits = waiting.pop(first + at)
        goes_left = _goes_left(compiled, nodes[at], background).view(np.uint8)
        for child, side in ((left, goes_left), (right, goes_left ^ np.uint8(1))):
            if child >= 0:
                waiting[child] = _inherit(bits, side, bit, repeated=bool(flags & layout.REPEATED))
        if min(left, right) < 0:
            counts = np.bincount(bits | np.uint8(1 << above) * goes_left, minlength=2 << above)
            yield _Patterns(first + at, counts / len(bits))


def _inherit(bits: Bits, side: Bits, bit: int, *, repeated: bool) -> Bits:
    """Return a child's bits: a new feature's is set where the row takes its side, a repeated one's cleared where not."""
    place = np.uint8(1 << bit)
    return bits & ~(place * (side ^ np.uint8(1))) if repeated else bits | place * side


def _goes_left(compiled: Compiled, node: Any, background: _Background) -> NDArray[np.bool_]:
    x, missing = background.columns[node["column"]], background.missing[node["column"]]
    left: NDArray[np.bool_] = x < node["threshold"]
    if node["flags"] & layout.CATEGORICAL:
        words = compiled.categories[node["categories"] : node["categories"] + node["words"]]
        valid = (x >= 0) & (x < min(32 * len(words), CATEGORIES_END))
        category = np.where(valid, x, 0).astype(np.int64)
        left = ~(valid & (words[category // 32] >> (category % 32).astype(np.uint32) & 1).astype(np.bool_))
        left &= ~missing
    return left | missing if node["flags"] & layout.DEFAULT_LEFT else left


def _mean_of_leaves(node: Any, shares: Doubles) -> float:
    all_above = (1 << int(node["above"])) - 1
    to_right, to_left = shares[all_above], shares[all_above | 1 << int(node["above"])]
    return float(
        (node["left"] < 0) * to_left * float(node["left_value"])
        + (node["right"] < 0) * to_right * float(node["right_value"])
    )


def _fill(
    tables: NDArray[np.float32], nodes: NDArray[Any], known: int, place: int, found: list[_Patterns]
) -> None:
    """Make the tables of nodes that have as many features above and repeat the same one, or none."""
    nodes = nodes[[one.node for one in found]]
    shares = np.array([one.shares for one in found])
    bits = bits_of(known + 1)
    features, size = known + (place < 0), 2 << known
    made = np.zeros((len(found), size, features))
    for name, side in (("left", bits[:, -1]), ("right", ~bits[:, -1])):
        own = np.column_stack([bits[:, :known], side]) if place < 0 else bits[:, :known].copy()
        if place >= 0:
            own[:, place] &= side
        index = own @ (1 << np.arange(features))
        patterns = shares @ (index[:, None] == np.arange(1 << features)).astype(np.float64)
        values = np.where(nodes[name] < 0, nodes[f"{name}_value"], 0).astype(np.float64)
        given = (patterns * values[:, None]) @ _effects(features)
        made += given.reshape(len(found), 1 << features, features)[:, index, :]
    rows = np.zeros((len(found), features, max(size, layout.TABLE_ROW)), dtype=np.float32)
    rows[:, :, :size] = made.swapaxes(1, 2)
    places = nodes["table"].astype(np.int64)[:, None] * layout.TABLE_ROW + np.arange(rows[0].size)
    tables[places] = rows.reshape(len(found), -1)


@functools.cache
def _effects(features: int) -> Doubles:
    """Return what a leaf of value 1 gives each feature, by the bits of a background row and of the row: [c, (b, j)]."""
    bits = bits_of(features)
    row, other = bits[:, None, :], bits[None, :, :]
    gains, takes = row & ~other, ~row & other
    x, y = gains.sum(axis=2), takes.sum(axis=2)
    weight = np.array([[_weight(i, j) for j in range(features + 1)] for i in range(features + 1)])
    possible = (row | other).all(axis=2)
    found = possible[:, :, None] * (gains * weight[x, y][:, :, None] - takes * weight[y, x][:, :, None])
    return np.ascontiguousarray(found.swapaxes(0, 1), dtype=np.float64).reshape(1 << features, -1)


def _weight(own: int, others: int) -> float:
    """Return (own - 1)! others! / (own + others)!, the share of one of `own` features."""
    return math.factorial(own - 1) * math.factorial(others) / math.factorial(own + others) if own else 0.0
