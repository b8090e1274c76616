"""Interventional values by tables that include the whole background, at no cost for rows.

Against one background row a leaf of value v depends on two bits for each feature of its path: whether the row explained
satisfies the path's splits on it, and whether the background row does. With X the features that only the first satisfies and
Y those that only the second does, the leaf gives each of X  v (|X| - 1)! |Y|! / (|X| + |Y|)!  and takes
v |X|! (|Y| - 1)! / (|X| + |Y|)!  from each of Y, unless neither row satisfies some feature: then it gives nothing. So how
often each pattern occurs among the background rows is all that a table needs to know of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.compiler import TABLE_BUDGET_MB
from shared.treeshap.forest import CATEGORIES_END, NotCoveredError
from shared.treeshap.tables import Doubles, alike, bits_of, place_tables, put_tables, table_sizes

#: Nodes whose tables are made at once: bounds what that takes in float64.
_AT_ONCE = 128

type Bits = NDArray[np.uint8]


def against_background(
    compiled: Compiled, background: NDArray[np.float32], budget_mb: float = TABLE_BUDGET_MB
) -> Compiled:
    """Return a path-dependent model's twin whose values are measured against a background.

    Raises NotCoveredError where tables do not do: the quadrature needs features to be independent.
    """
    if not len(background):
        raise NotCoveredError("there are no background rows")
    nodes = compiled.nodes.copy()
    tables = place_tables(nodes, _checked_sizes(nodes, budget_mb))
    columns = np.ascontiguousarray(background[:, compiled.columns].T)  # as the model uses them
    mean = compiled.start.astype(np.float64)
    shares: dict[int, Doubles] = {}
    for output in range(compiled.outputs):
        for tree in compiled.trees[compiled.first_tree[output] : compiled.first_tree[output + 1]]:
            mean[output] += float(tree["leaf"])
            for node, found in _meet(compiled, int(tree["first"]), int(tree["nodes"]), columns):
                mean[output] += _mean_of_leaves(nodes[node], found)
                shares[node] = found
    for known, place, batch in alike(nodes, _AT_ONCE):
        found = np.array([shares.pop(node) for node in batch.tolist()])
        put_tables(tables, nodes[batch], _background_tables(nodes[batch], known, place, found))
    trees = compiled.trees.copy()
    trees["has_tables"] = np.where(trees["nodes"] > 0, layout.ONLY_TABLES, 0)
    trees["factors"] = -1  # they are quadrature's
    no_factors = np.zeros(0, dtype=np.float32)
    return replace(
        compiled, nodes=nodes, trees=trees, tables=tables, factors=no_factors, base=mean.astype(np.float32)
    )


def _checked_sizes(nodes: NDArray[Any], budget_mb: float) -> NDArray[np.int64]:
    if nodes["above"].max(initial=0) >= layout.MOST_BITS:
        raise NotCoveredError(
            f"a tree is too deep for tables: a leaf depends on more than {layout.MOST_BITS} bits"
        )
    sizes = table_sizes(nodes)
    megabytes = int(sizes.sum()) * 4e-6
    if megabytes > budget_mb:
        raise NotCoveredError(f"its tables are too large: {megabytes:.0f} MB, of {budget_mb:.0f}")
    return sizes


def _meet(
    compiled: Compiled, first: int, count: int, background: NDArray[np.float32]
) -> Iterator[tuple[int, Doubles]]:
    """Send the background down a tree; yield each node above a leaf, with shares by bits.

    The bits are those above, and over them whether the row goes left.
    """
    nodes = compiled.nodes[first : first + count]
    names = ("left", "right", "above", "bit", "flags")
    waiting = {first: np.zeros(background.shape[1], dtype=np.uint8)}
    for at, (left, right, above, bit, flags) in enumerate(
        zip(*(nodes[name].tolist() for name in names), strict=True)
    ):
        bits = waiting.pop(first + at)
        goes_left = _goes_left(compiled, nodes[at], background[nodes["column"][at]]).view(np.uint8)
        for child, side in ((left, goes_left), (right, goes_left ^ np.uint8(1))):
            if child >= 0:
                waiting[child] = _inherit(bits, side, bit, repeated=bool(flags & layout.REPEATED))
        if min(left, right) < 0:
            counts = np.bincount(bits | np.uint8(1 << above) * goes_left, minlength=2 << above)
            yield first + at, counts / len(bits)


def _inherit(bits: Bits, side: Bits, bit: int, *, repeated: bool) -> Bits:
    """Return a child's bits: a new feature's is set, a repeated one's kept, on the row's side."""
    place = np.uint8(1 << bit)
    return bits & ~(place * (side ^ np.uint8(1))) if repeated else bits | place * side


def _goes_left(compiled: Compiled, node: Any, x: NDArray[np.float32]) -> NDArray[np.bool_]:
    missing = np.isnan(x)
    left: NDArray[np.bool_] = x < node["threshold"]
    if node["flags"] & layout.CATEGORICAL:
        words = compiled.categories[node["categories"] : node["categories"] + node["words"]]
        words = np.append(words, np.uint32(0))  # the set may be empty
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


def _background_tables(nodes: NDArray[Any], known: int, place: int | None, shares: Doubles) -> Doubles:
    """Return the tables of nodes of one shape, as tables.node_tables lays them out."""
    bits = bits_of(known + 1)
    features = known + (place is None)
    made = np.zeros((len(nodes), len(bits), features))
    for name, side in (("left", bits[:, -1]), ("right", ~bits[:, -1])):
        own = bits[:, :known].copy() if place is not None else np.column_stack([bits[:, :known], side])
        if place is not None:
            own[:, place] &= side
        index = own @ (1 << np.arange(features))
        patterns = shares @ (index[:, None] == np.arange(1 << features)).astype(np.float64)
        values = nodes[f"{name}_value"].astype(np.float64)
        given = (patterns * values[:, None]) @ _effects(features)
        made += given.reshape(len(nodes), 1 << features, features)[:, index, :]
    return made.swapaxes(1, 2)


@functools.cache
def _effects(features: int) -> Doubles:
    """Return the effects of a leaf of value 1, by the bits of background and row: [c, (b, j)]."""
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
