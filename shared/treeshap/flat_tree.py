"""A tree laid flat: its inner nodes in the order of descent, each with its path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.treeshap.forest import Tree

#: Each feature of a path in its order, with its cover ratio so far.
type Path = dict[int, float]


@dataclass(slots=True)
class FlatNode:
    """An inner node. `above` is the path to it; `left` and `right` are nodes' places, or -1."""

    node: int
    level: int
    right_child: bool
    above: Path
    shares: tuple[float, float]
    feature: int
    left: int = -1
    right: int = -1

    @property
    def repeated(self) -> bool:
        """Whether the path has a split on the same feature."""
        return self.feature in self.above

    @property
    def place(self) -> int:
        """Where the feature's bit stands among those of the path."""
        return list(self.above).index(self.feature) if self.repeated else len(self.above)

    @property
    def ratios(self) -> tuple[float, float]:
        """The feature's cover ratio for the left and the right child."""
        before = self.above.get(self.feature, 1.0)
        return before * self.shares[0], before * self.shares[1]


@dataclass(slots=True)
class FlatTree:
    """A tree's inner nodes (node, left subtree, right subtree), and its expected value."""

    nodes: list[FlatNode] = field(default_factory=list)
    expected: float = 0.0

    @property
    def levels(self) -> int:
        """How many inner nodes follow each other at most."""
        return 1 + max((node.level for node in self.nodes), default=-1)

    @property
    def most_features(self) -> int:
        """How many different features a path has at most."""
        return max((len(node.above) + (not node.repeated) for node in self.nodes), default=0)


def flatten(tree: Tree) -> FlatTree:
    """Lay a tree flat."""
    flat = FlatTree()
    for node, reach in _visit(tree, flat.nodes):
        flat.expected += reach * float(tree.value[node])
    return flat


def _visit(tree: Tree, nodes: list[FlatNode]) -> Iterator[tuple[int, float]]:
    """Append the inner nodes; yield each leaf with the share of all cover that reaches it."""
    waiting: list[tuple[int, FlatNode | None, bool, Path, float]] = [(0, None, False, {}, 1.0)]
    while waiting:
        node, parent, right_child, above, reach = waiting.pop()
        if tree.left[node] < 0:
            yield node, reach
            continue
        here = FlatNode(
            node=node,
            level=0 if parent is None else parent.level + 1,
            right_child=right_child,
            above=above,
            shares=tree.shares(node),
            feature=int(tree.feature[node]),
        )
        if parent is not None:
            setattr(parent, "right" if right_child else "left", len(nodes))
        nodes.append(here)
        left_ratio, right_ratio = here.ratios
        right = {**above, here.feature: right_ratio}
        left = {**above, here.feature: left_ratio}
        waiting.append((int(tree.right[node]), here, True, right, reach * here.shares[1]))
        waiting.append((int(tree.left[node]), here, False, left, reach * here.shares[0]))
