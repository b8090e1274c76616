"""Compiles a forest for the kernels: flat nodes, and tables where a path's bits are few."""

from __future__ import annotations

from array import array
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.flat_tree import flatten
from shared.treeshap.forest import Forest, NotCoveredError, Tree
from shared.treeshap.tables import (
    alike,
    along_paths,
    exact_points,
    factor_sizes,
    node_tables,
    place_tables,
    put_tables,
    table_sizes,
    tree_factors,
)

#: MB that a model's tables and then factors may take; the trees beyond it are computed by quadrature without either.
TABLE_BUDGET_MB = 64
#: Nodes whose tables are made at once: bounds what that takes in float64.
_AT_ONCE = 512


def _compile_tree(tree: Tree, words: array[int]) -> tuple[NDArray[Any], tuple[Any, ...], float]:
    """Return a tree's nodes, its record and its expected value.

    Its sets of categories are appended to `words`.
    """
    inner, nodes, expected = flatten(tree)
    features = int((nodes["above"] + (nodes["flags"] & layout.REPEATED == 0)).max(initial=0))
    levels = int(nodes["level"].max(initial=0)) + bool(len(nodes))
    if features > layout.MOST_FEATURES:
        raise NotCoveredError(f"a path has more than {layout.MOST_FEATURES} different features")
    if levels > layout.MOST_LEVELS:
        raise NotCoveredError(f"a tree has more than {layout.MOST_LEVELS} levels")
    nodes["column"] = tree.feature[inner]
    for at, node in enumerate(inner.tolist()):
        if node in tree.categories:
            bits = _bits_of(tree.categories[node])
            nodes["flags"][at] |= layout.CATEGORICAL
            nodes["categories"][at], nodes["words"][at] = len(words), len(bits)
            words.frombytes(bits.tobytes())
    leaf = 0.0 if len(nodes) else tree.value[0]
    return nodes, (0, len(nodes), exact_points(features), 0, leaf, levels, 0, -1), expected


def _bits_of(categories: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return a set as bits."""
    bits = np.zeros(int(categories.max(initial=-1)) // 32 + 1, dtype=np.uint32)
    np.bitwise_or.at(bits, categories // 32, np.uint32(1) << (categories % 32).astype(np.uint32))
    return bits


def compile_forest(
    forest: Forest, start: NDArray[np.float32], budget_mb: float = TABLE_BUDGET_MB
) -> Compiled:
    """Compile a forest whose margins begin at `start`, one for each output.

    Raises NotCoveredError with the reason.
    """
    if len(start) != forest.outputs or not np.all(np.isfinite(start)):
        raise NotCoveredError("its margins do not begin at one finite number for each output")
    ordered = sorted(forest.trees, key=lambda tree: tree.output)
    outputs = np.array([tree.output for tree in ordered], dtype=np.int64)
    words = array("I")
    compiled = [_compile_tree(tree, words) for tree in ordered]
    trees = np.array([record for _, record, _ in compiled], dtype=layout.TREE)
    trees["first"] = np.cumsum(trees["nodes"]) - trees["nodes"]
    nodes = np.concatenate([np.zeros(0, layout.NODE), *(own for own, _, _ in compiled)])
    for name in ("left", "right"):
        nodes[name] += np.where(nodes[name] < 0, 0, np.repeat(trees["first"], trees["nodes"]))
    used, nodes["column"] = np.unique(nodes["column"], return_inverse=True)
    trees["ends_chunk"] = _chunk_ends(ordered)
    budget = int(budget_mb * 1e6 / 4)
    tables = _make_tables(trees, nodes, budget)
    expected = np.bincount(outputs, [mean for _, _, mean in compiled], minlength=forest.outputs)
    return Compiled(
        features=forest.features,
        columns=used.astype(np.int32),
        first_tree=np.searchsorted(outputs, np.arange(forest.outputs + 1)).astype(np.int32),
        trees=trees,
        nodes=nodes,
        categories=np.array(words, dtype=np.uint32),
        start=start.astype(np.float32),
        base=(expected + start).astype(np.float32),
        tables=tables,
        factors=_make_factors(trees, nodes, budget - len(tables)),
    )


def _chunk_ends(trees: list[Tree]) -> list[bool]:
    """Tell after which trees the kernels add up in double what they have added up in float.

    The sum of a chunk stays within what the largest single tree gives, so that it costs no more exactness than that
    one tree. Boosted trees shrink quickly, and most chunks are long.
    """
    sizes = [float(np.abs(tree.value[tree.left < 0]).max(initial=0.0)) for tree in trees]
    most: dict[int, float] = defaultdict(float)
    for tree, size in zip(trees, sizes, strict=True):
        most[tree.output] = max(most[tree.output], size)
    ends, together = [], 0.0
    for tree, size, following in zip(trees, sizes, [*sizes, np.inf][1:], strict=True):
        together += size
        ends.append(together + following > most[tree.output])
        together = 0.0 if ends[-1] else together
    return ends


def _make_tables(trees: NDArray[Any], nodes: NDArray[Any], budget: int) -> NDArray[np.float32]:
    """Make the tables of trees with few bits, within the budget, and note where they are."""
    sizes = table_sizes(nodes)
    floats = 0
    for at, (first, count) in enumerate(zip(trees["first"].tolist(), trees["nodes"].tolist(), strict=True)):
        own = slice(first, first + count)
        size = int(sizes[own].sum())
        few = count > 0 and nodes["above"][own].max() < layout.TABLE_BITS
        trees["has_tables"][at] = few and floats + size <= budget
        floats += size * int(trees["has_tables"][at])
    with_tables = np.repeat(trees["has_tables"], trees["nodes"]) > 0
    tables = place_tables(nodes, np.where(with_tables, sizes, 0))
    some = nodes[with_tables]
    place = np.cumsum(with_tables) - 1
    for name in ("left", "right"):
        some[name] = np.where(some[name] < 0, -1, place[some[name]])
    above = along_paths(some, some["left_ratio"], some["right_ratio"])
    for known, repeated, batch in alike(some, _AT_ONCE):
        put_tables(tables, some[batch], node_tables(some[batch], above[batch, :known], repeated))
    return tables


def _make_factors(trees: NDArray[Any], nodes: NDArray[Any], budget: int) -> NDArray[np.float32]:
    """Make the factors of quadrature within the budget, and note in the trees where they are.

    Trees without tables come first: they have nothing else. Those with tables are explained so where rows are few.
    """
    order = np.argsort(trees["has_tables"], kind="stable")
    order = order[trees["nodes"][order] > 0]
    ends = np.cumsum(factor_sizes(trees[order]))
    chosen = order[ends <= budget]
    made = tree_factors(trees[chosen], nodes)
    trees["factors"][chosen] = (ends[: len(chosen)] - factor_sizes(trees[chosen])) // layout.TABLE_ROW
    return made
