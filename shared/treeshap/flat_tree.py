"""A tree laid flat: its inner nodes in the order of descent, each with facts of its path."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout
from shared.treeshap.forest import Tree

#: Each feature of a path in its order, with its cover ratio so far.
type Path = dict[int, float]

#: The fields of a node that only the way down to it tells.
_BY_DESCENT = ("level", "right_child", "above", "bit", "flags", "ratio_above", "left_share", "right_share")


def flatten(tree: Tree) -> tuple[NDArray[np.int64], NDArray[Any], float]:
    """Return a tree's inner nodes, their records, and the tree's expected value.

    An inner node is (node, left subtree, right subtree). Children are places among the records. Columns, categories and
    tables are left to the compiler.
    """
    found: list[int] = []
    records: list[tuple[float, ...]] = []
    right_children: list[int] = []
    expected = 0.0
    waiting: list[tuple[int, int, int, Path, float]] = [(0, 0, -1, {}, 1.0)]
    while waiting:
        node, level, right_of, above, reach = waiting.pop()
        if tree.left[node] < 0:
            expected += reach * float(tree.value[node])
            continue
        if right_of >= 0:
            right_children[right_of] = len(found)
        feature = int(tree.feature[node])
        repeated, before = feature in above, above.get(feature, 1.0)
        bit = list(above).index(feature) if repeated else len(above)
        left_share, right_share = tree.shares(node)
        right, left = {**above, feature: before * right_share}, {**above, feature: before * left_share}
        waiting.append((int(tree.right[node]), level + 1, len(found), right, reach * right_share))
        waiting.append((int(tree.left[node]), level + 1, -1, left, reach * left_share))
        flags = layout.REPEATED * repeated
        records.append((level, right_of >= 0, len(above), bit, flags, before, left_share, right_share))
        found.append(node)
        right_children.append(-1)
    inner = np.array(found, dtype=np.int64)
    return inner, _put_together(tree, inner, records, right_children), expected


def _put_together(
    tree: Tree, inner: NDArray[np.int64], records: list[tuple[float, ...]], right_children: list[int]
) -> NDArray[Any]:
    nodes = np.zeros(len(inner), dtype=layout.NODE)
    for name, column in zip(_BY_DESCENT, zip(*records, strict=True), strict=bool(records)):
        nodes[name] = column
    nodes["threshold"] = tree.value[inner]
    nodes["flags"] += np.where(tree.default_left[inner], layout.DEFAULT_LEFT, 0).astype(np.uint8)
    nodes["left"] = np.where(tree.left[tree.left[inner]] < 0, -1, np.arange(1, len(inner) + 1))
    nodes["right"] = right_children
    nodes["table"] = -1
    for name, children in (("left", tree.left[inner]), ("right", tree.right[inner])):
        nodes[f"{name}_value"] = np.where(tree.left[children] < 0, tree.value[children], 0.0)
        nodes[f"{name}_ratio"] = nodes["ratio_above"] * nodes[f"{name}_share"]
    return nodes
