"""Makes of a forest what the kernels read: flat nodes, and tables where a path's bits are few enough."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.factors import node_factors
from shared.treeshap.flat_tree import FlatNode, FlatTree, flatten
from shared.treeshap.forest import Forest, NotCoveredError, Tree
from shared.treeshap.tables import exact_points, node_tables

#: MB that a model's tables and then factors may take; the trees beyond it are computed by quadrature without either.
TABLE_BUDGET_MB = 64
#: Nodes whose tables are made at once: bounds what that takes in float64.
_AT_ONCE = 512


type _Kind = tuple[int, int | None]


@dataclass(frozen=True, slots=True)
class _TableRequest:
    """A node whose table is wanted: where it goes, and what it is made of."""

    offset: int
    above: tuple[float, ...]
    values: tuple[float, float]
    ratios: tuple[float, float]


@dataclass(slots=True)
class _Work:
    """The arrays while they grow: a large model has millions of nodes, so none is kept as Python's objects for long."""

    columns: dict[int, int]
    #: Floats that tables and factors may take, and room for so many tables: what is not written takes no memory.
    budget: int
    tables: NDArray[np.float32]
    nodes: list[NDArray[Any]] = field(default_factory=lambda: [np.zeros(0, dtype=layout.NODE)])
    node_count: int = 0
    trees: list[tuple[Any, ...]] = field(default_factory=list)
    words: list[NDArray[np.uint32]] = field(default_factory=list)
    word_count: int = 0
    #: By the number of features above and the place of a repeated one: those that are made alike.
    requests: dict[_Kind, list[_TableRequest]] = field(default_factory=lambda: defaultdict(list))
    floats: int = 0


def compile_forest(
    forest: Forest, start: NDArray[np.float32], budget_mb: float = TABLE_BUDGET_MB
) -> Compiled:
    """Compile a forest whose margins begin at `start`, one for each output. Raises NotCoveredError with the reason."""
    if len(start) != forest.outputs or not np.all(np.isfinite(start)):
        raise NotCoveredError("its margins do not begin at one finite number for each output")
    splits = [tree.feature[tree.left >= 0] for tree in forest.trees]
    used = np.unique(np.concatenate([np.zeros(0, np.int32), *splits])).astype(np.int32)
    budget = int(budget_mb * 1e6 / 4)
    # Activation's limit counts also what is only reserved: a small model reserves little.
    most = sum(map(len, splits)) * layout.table_floats(layout.TABLE_BITS - 1, repeated=False)
    tables = np.zeros(min(budget, most), dtype=np.float32)
    work = _Work({int(feature): i for i, feature in enumerate(used)}, budget, tables)
    expected = np.zeros(forest.outputs)
    ordered = sorted(forest.trees, key=lambda tree: tree.output)
    for tree in ordered:
        flat = flatten(tree)
        expected[tree.output] += flat.expected
        _add_tree(work, tree, flat)
    trees = np.array(work.trees, dtype=layout.TREE)
    trees["ends_chunk"] = _chunk_ends(ordered)
    for kind in work.requests:
        _make_tables(work, kind)
    nodes = np.concatenate(work.nodes)
    factors = _make_factors(trees, nodes, work.budget - work.floats)
    per_output = np.bincount([tree.output for tree in ordered], minlength=forest.outputs)
    return Compiled(
        features=forest.features,
        columns=used,
        first_tree=np.concatenate([[0], np.cumsum(per_output)]).astype(np.int32),
        trees=trees,
        nodes=nodes,
        categories=np.concatenate([np.zeros(0, np.uint32), *work.words]),
        start=start.astype(np.float32),
        base=(expected + start).astype(np.float32),
        tables=work.tables[: work.floats],
        factors=factors,
    )


def _add_tree(work: _Work, tree: Tree, flat: FlatTree) -> None:
    if flat.most_features > layout.MOST_FEATURES:
        raise NotCoveredError(f"a path has more than {layout.MOST_FEATURES} different features")
    if flat.levels > layout.MOST_LEVELS:
        raise NotCoveredError(f"a tree has more than {layout.MOST_LEVELS} levels")
    first = work.node_count
    parents = [node for node in flat.nodes if min(node.left, node.right) < 0]
    floats = sum(_table_floats(node) for node in parents)
    few = all(len(node.above) < layout.TABLE_BITS for node in flat.nodes)
    has_tables = few and bool(flat.nodes) and work.floats + floats <= work.budget
    records = []
    for node in flat.nodes:
        table = -1
        if has_tables and min(node.left, node.right) < 0:
            table = _request_table(work, tree, node)
        records.append(_record(work, tree, node, first, table))
    work.nodes.append(np.array(records, dtype=layout.NODE))
    work.node_count += len(records)
    leaf = 0.0 if flat.nodes else tree.value[0]
    points = exact_points(flat.most_features)
    work.trees.append((first, len(flat.nodes), points, has_tables, leaf, flat.levels, 0, -1))


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


def _table_floats(node: FlatNode) -> int:
    return layout.table_floats(len(node.above), repeated=node.repeated)


def _request_table(work: _Work, tree: Tree, node: FlatNode) -> int:
    kind = (len(node.above), node.place if node.repeated else None)
    above = tuple(node.above.values())
    work.requests[kind].append(_TableRequest(work.floats, above, _leaf_values(tree, node), node.ratios))
    if len(work.requests[kind]) == _AT_ONCE:
        _make_tables(work, kind)
    table = work.floats // layout.TABLE_ROW
    work.floats += _table_floats(node)
    return table


def _leaf_values(tree: Tree, node: FlatNode) -> tuple[float, float]:
    children = (tree.left[node.node], tree.right[node.node])
    left, right = (0.0 if tree.left[child] >= 0 else float(tree.value[child]) for child in children)
    return left, right


def _record(work: _Work, tree: Tree, node: FlatNode, first: int, table: int) -> tuple[Any, ...]:
    flags = layout.DEFAULT_LEFT * bool(tree.default_left[node.node]) + layout.REPEATED * node.repeated
    begin, words = 0, 0
    categories = tree.categories.get(node.node)
    if categories is not None:
        flags += layout.CATEGORICAL
        begin, words = _add_categories(work, categories)
    return (
        node.above.get(node.feature, 1.0),
        *node.ratios,
        *node.shares,
        tree.value[node.node],
        work.columns[node.feature],
        *(child if child < 0 else first + child for child in (node.left, node.right)),
        *_leaf_values(tree, node),
        table,
        begin,
        words,
        node.level,
        node.right_child,
        node.place,
        len(node.above),
        flags,
        (0,) * 6,
    )


def _add_categories(work: _Work, categories: NDArray[np.int64]) -> tuple[int, int]:
    """Keep a set as bits; return its first word and how many it has."""
    begin = work.word_count
    bits = np.zeros(int(categories.max(initial=-1)) // 32 + 1, dtype=np.uint32)
    np.bitwise_or.at(bits, categories // 32, np.uint32(1) << (categories % 32).astype(np.uint32))
    work.words.append(bits)
    work.word_count += len(bits)
    return begin, len(bits)


def _make_factors(trees: NDArray[Any], nodes: NDArray[Any], budget: int) -> NDArray[np.float32]:
    """Work out what quadrature multiplies with, and note in the trees where it is, as far as the budget goes.

    Trees without tables come first: they have nothing else. Those with tables are explained so where rows are few.
    """
    made, floats = [np.zeros(0, dtype=np.float32)], 0
    order = np.argsort(trees["has_tables"], kind="stable")
    for at in order[trees["nodes"][order] > 0]:
        tree = trees[at]
        size = (
            -(-layout.FACTORS * int(tree["points"]) * int(tree["nodes"]) // layout.TABLE_ROW)
            * layout.TABLE_ROW
        )
        if floats + size > budget:
            break
        rows = np.zeros(size, dtype=np.float32)
        found = node_factors(nodes[tree["first"] : tree["first"] + tree["nodes"]], int(tree["points"]))
        rows[: found.size] = found.ravel()
        trees["factors"][at] = floats // layout.TABLE_ROW
        made.append(rows)
        floats += size
    return np.concatenate(made)


def _make_tables(work: _Work, kind: _Kind) -> None:
    """Make the tables that are requested of a kind, and forget the requests."""
    known, place = kind
    batch = work.requests[kind]
    if not batch:
        return
    made = node_tables(
        np.array([one.above for one in batch]).reshape(len(batch), known),
        place,
        (np.array([one.values[0] for one in batch]), np.array([one.values[1] for one in batch])),
        (np.array([one.ratios[0] for one in batch]), np.array([one.ratios[1] for one in batch])),
    )
    features, size = made.shape[1:]
    rows = np.zeros((len(batch), features, max(size, layout.TABLE_ROW)), dtype=np.float32)
    rows[:, :, :size] = made
    places = np.array([one.offset for one in batch])[:, None] + np.arange(rows[0].size)
    work.tables[places] = rows.reshape(len(batch), -1)
    work.requests[kind] = []
