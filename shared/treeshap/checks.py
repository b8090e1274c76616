"""Checks that kernels stay within a compiled model's arrays for any rows.

The kernels check nothing. So what comes from a file is checked here, once, before a kernel sees it: also where its
checksum is right, since that says only who wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout
from shared.treeshap.compiled import Compiled


def find_fault(compiled: Compiled) -> str | None:
    """Return the first thing that a kernel must not meet, or None."""
    for name, holds in _columns_and_trees(compiled):
        if not holds:
            return name
    owner = np.repeat(np.arange(len(compiled.trees)), compiled.trees["nodes"])
    # One after the other: what comes first keeps what comes later within the arrays.
    for name, each in chain(_nodes(compiled, owner), _children(compiled, owner), _tables(compiled, owner)):
        if not np.all(each):
            return name
    return None


def _columns_and_trees(compiled: Compiled) -> Iterator[tuple[str, bool]]:
    columns, trees, first = compiled.columns, compiled.trees, compiled.first_tree
    yield "features", 0 <= compiled.features < 1 << 24
    yield (
        "columns",
        bool(np.all((columns >= 0) & (columns < compiled.features)) and np.all(np.diff(columns) > 0)),
    )
    yield "outputs", 0 < compiled.outputs == len(compiled.base) == len(first) - 1
    yield (
        "first_tree",
        bool(len(first) and first[0] == 0 and first[-1] == len(trees) and np.all(np.diff(first) >= 0)),
    )
    begins = np.concatenate([[0], np.cumsum(trees["nodes"], dtype=np.int64)])
    in_order = np.all(trees["nodes"] >= 0) and np.array_equal(trees["first"], begins[:-1])
    yield "trees", bool(in_order and begins[-1] == len(compiled.nodes))
    yield "points", bool(np.all(np.isin(trees["points"], layout.POINTS)))
    end = trees["factors"].astype(np.int64) * layout.TABLE_ROW + layout.FACTORS * trees["points"] * trees[
        "nodes"
    ].astype(np.int64)
    yield (
        "factors",
        bool(np.all((trees["factors"] == -1) | ((trees["factors"] >= 0) & (end <= len(compiled.factors))))),
    )
    yield "levels", bool(np.all((trees["levels"] >= 0) & (trees["levels"] <= layout.MOST_LEVELS)))
    yield "has_tables", bool(np.all((trees["has_tables"] >= 0) & (trees["has_tables"] <= layout.ONLY_TABLES)))


def _nodes(compiled: Compiled, owner: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    nodes, trees = compiled.nodes, compiled.trees[owner]
    begin, words = nodes["categories"].astype(np.int64), nodes["words"].astype(np.int64)
    repeated = nodes["flags"] & layout.REPEATED != 0
    features = nodes["above"].astype(np.int64) + ~repeated
    yield "column", (nodes["column"] >= 0) & (nodes["column"] < len(compiled.columns))
    yield "level", nodes["level"] < trees["levels"]
    yield "flags", (nodes["flags"] < 8) & (nodes["right_child"] < 2)
    yield "bit", np.where(repeated, nodes["bit"] < nodes["above"], nodes["bit"] == nodes["above"])
    yield "features of a path", features <= np.minimum(2 * trees["points"], layout.MOST_FEATURES)
    in_words = (begin >= 0) & (words >= 0) & (begin + words <= len(compiled.categories))
    yield "categories", in_words | (nodes["flags"] & layout.CATEGORICAL == 0)


def _children(compiled: Compiled, owner: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each node but the roots has one parent, before it, and knows at most one feature more."""
    nodes, trees = compiled.nodes, compiled.trees
    roots = trees["first"][trees["nodes"] > 0]
    yield (
        "roots",
        (nodes["level"][roots] == 0) & (nodes["above"][roots] == 0) & (nodes["right_child"][roots] == 0),
    )
    parents = np.zeros(len(nodes), dtype=np.int64)
    parents[roots] = 1
    end = (trees["first"] + trees["nodes"])[owner]
    for right_child, name in enumerate(("left", "right")):
        child = nodes[name].astype(np.int64)
        yield name, (child == -1) | ((child > np.arange(len(nodes))) & (child < end))
        inner = np.flatnonzero(child >= 0)
        below, above = nodes[child[inner]], nodes[inner]
        parents += np.bincount(child[inner], minlength=len(nodes))
        new = above["flags"] & layout.REPEATED == 0
        yield f"{name} child's level", below["level"] == above["level"].astype(np.int64) + 1
        yield f"{name} child's path", below["above"] == above["above"].astype(np.int64) + new
        yield f"{name} child's side", below["right_child"] == right_child
    yield "parents", parents == 1


def _tables(compiled: Compiled, owner: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    nodes = compiled.nodes
    has_tables = compiled.trees["has_tables"][owner]
    wanted = has_tables > 0
    above = nodes["above"].astype(np.int64)
    most = np.where(has_tables == layout.ONLY_TABLES, layout.MOST_BITS, layout.TABLE_BITS)
    yield "bits of a table", (above < most) | ~wanted
    above = np.minimum(above, layout.MOST_BITS)
    features = above + (nodes["flags"] & layout.REPEATED == 0)
    end = (
        nodes["table"].astype(np.int64) * layout.TABLE_ROW
        + np.maximum(layout.TABLE_ROW, 2 << above) * features
    )
    inside = (nodes["table"] >= 0) & (end <= len(compiled.tables))
    has_leaf = (nodes["left"] < 0) | (nodes["right"] < 0)
    yield "table", np.where(wanted & has_leaf, inside, nodes["table"] == -1)
