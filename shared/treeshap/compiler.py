"""Compiles a forest for the kernels: flat nodes, and tables where a path's bits are few."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.flat_tree import FlatNode, FlatTree, flatten
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


class _Records:
    """The growing records of nodes and trees, as arrays: a large model has millions of nodes."""

    def __init__(self, columns: NDArray[np.int32]) -> None:
        self.columns = {int(feature): column for column, feature in enumerate(columns)}
        self.nodes = [np.zeros(0, dtype=layout.NODE)]
        self.node_count = 0
        self.trees: list[tuple[Any, ...]] = []
        self.words = [np.zeros(0, np.uint32)]
        self.word_count = 0

    def add(self, tree: Tree, flat: FlatTree) -> None:
        if flat.most_features > layout.MOST_FEATURES:
            raise NotCoveredError(f"a path has more than {layout.MOST_FEATURES} different features")
        if flat.levels > layout.MOST_LEVELS:
            raise NotCoveredError(f"a tree has more than {layout.MOST_LEVELS} levels")
        leaf = 0.0 if flat.nodes else tree.value[0]
        points = exact_points(flat.most_features)
        self.trees.append((self.node_count, len(flat.nodes), points, 0, leaf, flat.levels, 0, -1))
        self.nodes.append(np.array([self._node(tree, node) for node in flat.nodes], dtype=layout.NODE))
        self.node_count += len(flat.nodes)

    def _node(self, tree: Tree, node: FlatNode) -> tuple[Any, ...]:
        flags = layout.DEFAULT_LEFT * bool(tree.default_left[node.node]) + layout.REPEATED * node.repeated
        begin, words = 0, 0
        categories = tree.categories.get(node.node)
        if categories is not None:
            flags += layout.CATEGORICAL
            begin, words = self._add_categories(categories)
        children = (tree.left[node.node], tree.right[node.node])
        return (
            node.above.get(node.feature, 1.0),
            *node.ratios,
            *node.shares,
            tree.value[node.node],
            self.columns[node.feature],
            *(child if child < 0 else self.node_count + child for child in (node.left, node.right)),
            *(0.0 if tree.left[child] >= 0 else tree.value[child] for child in children),
            -1,
            begin,
            words,
            node.level,
            node.right_child,
            node.place,
            len(node.above),
            flags,
            (0,) * 6,
        )

    def _add_categories(self, categories: NDArray[np.int64]) -> tuple[int, int]:
        """Keep a set as bits; return its first word and how many it has."""
        begin = self.word_count
        bits = np.zeros(int(categories.max(initial=-1)) // 32 + 1, dtype=np.uint32)
        np.bitwise_or.at(bits, categories // 32, np.uint32(1) << (categories % 32).astype(np.uint32))
        self.words.append(bits)
        self.word_count += len(bits)
        return begin, len(bits)


def compile_forest(
    forest: Forest, start: NDArray[np.float32], budget_mb: float = TABLE_BUDGET_MB
) -> Compiled:
    """Compile a forest whose margins begin at `start`, one for each output.

    Raises NotCoveredError with the reason.
    """
    if len(start) != forest.outputs or not np.all(np.isfinite(start)):
        raise NotCoveredError("its margins do not begin at one finite number for each output")
    splits = [tree.feature[tree.left >= 0] for tree in forest.trees]
    used = np.unique(np.concatenate([np.zeros(0, np.int32), *splits])).astype(np.int32)
    records, expected = _Records(used), np.zeros(forest.outputs)
    ordered = sorted(forest.trees, key=lambda tree: tree.output)
    for tree in ordered:
        flat = flatten(tree)
        expected[tree.output] += flat.expected
        records.add(tree, flat)
    trees, nodes = np.array(records.trees, dtype=layout.TREE), np.concatenate(records.nodes)
    trees["ends_chunk"] = _chunk_ends(ordered)
    budget = int(budget_mb * 1e6 / 4)
    tables = _make_tables(trees, nodes, budget)
    per_output = np.bincount([tree.output for tree in ordered], minlength=forest.outputs)
    return Compiled(
        features=forest.features,
        columns=used,
        first_tree=np.concatenate([[0], np.cumsum(per_output)]).astype(np.int32),
        trees=trees,
        nodes=nodes,
        categories=np.concatenate(records.words),
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
