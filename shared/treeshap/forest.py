"""Reads an XGBoost model's own description (UBJSON) into trees; refuses anything unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.ubjson import read_ubjson

#: Cover ratios below this are taken for this, and those below a node without cover for a half, as XGBoost does.
LEAST_SHARE = 1e-12
#: XGBoost ignores categories from this on: they are no longer exact in float32.
CATEGORIES_END = 1 << 24
#: Boosters whose margin is the weighted sum of one leaf of each tree.
TREE_BOOSTERS = ("gbtree", "dart")


class NotCoveredError(Exception):
    """A model of a kind that is not compiled; the message says why."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree's nodes as columns. Node 0 is the root; a leaf has `left` -1 and its `value`.

    `weight` has been multiplied into the leaves' values, in float32 as XGBoost does.
    """

    output: int
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    value: NDArray[np.float32]
    default_left: NDArray[np.bool_]
    cover: NDArray[np.float32]
    categories: dict[int, NDArray[np.int64]]

    def shares(self, node: int) -> tuple[float, float]:
        """Return which part of a node's cover its left and right child have."""
        above = float(self.cover[node])
        if above <= 0:
            return 0.5, 0.5
        left, right = float(self.cover[self.left[node]]), float(self.cover[self.right[node]])
        return max(left / above, LEAST_SHARE), max(right / above, LEAST_SHARE)


@dataclass(frozen=True, slots=True)
class Forest:
    """A whole model: its trees in order, and how many features and outputs it has."""

    features: int
    outputs: int
    trees: tuple[Tree, ...]


def read_forest(content: bytes) -> Forest:
    """Read what `Booster.save_raw("ubj")` gives. Raises NotCoveredError with the reason."""
    try:
        document = read_ubjson(content)
    except ValueError as error:
        raise NotCoveredError(f"its description is not understood: {error}") from error
    return forest_of(document)


def forest_of(document: Any) -> Forest:
    """Read a model's parsed description. Raises NotCoveredError with the reason.

    A tree whose leaves hold a value for each output becomes one tree for each output.
    """
    try:
        learner = document["learner"]
        booster = learner["gradient_booster"]
        name = booster["name"]
        if name not in TREE_BOOSTERS:
            raise NotCoveredError(f"the booster {name} has no trees")
        model = booster.get("gbtree", booster)["model"]
        facts = learner["learner_model_param"]
        outputs = max(int(facts["num_class"]), int(facts.get("num_target", 1)), 1)
        weights = model.get("weight_drop") or booster.get("weight_drop") or [1.0] * len(model["trees"])
        trees = tuple(
            tree
            for described, output, weight in zip(model["trees"], model["tree_info"], weights, strict=True)
            for tree in _read_tree(described, int(output), np.float32(weight))
        )
        forest = Forest(int(facts["num_feature"]), outputs, trees)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise NotCoveredError(f"its description is not understood: {type(error).__name__} {error}") from error
    _check(forest)
    return forest


def _read_tree(document: Any, output: int, weight: np.float32) -> list[Tree]:
    """Return the tree, or one for each output of vector leaves, which share all but values."""
    left = np.array(document["left_children"], dtype=np.int32)
    right = np.where(left < 0, -1, np.array(document["right_children"], dtype=np.int32)).astype(np.int32)
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite, and refused later
        value = np.array(document["split_conditions"]).astype(np.float32)
        value[left < 0] *= weight
    tree = Tree(
        output=output,
        left=left,
        right=right,
        feature=np.array(document["split_indices"], dtype=np.int32),
        value=value,
        default_left=np.array(document["default_left"], dtype=np.bool_),
        cover=np.array(document["sum_hessian"], dtype=np.float32),
        categories=_read_categories(document),
    )
    size = int(document["tree_param"].get("size_leaf_vector", 1))
    return [tree] if size <= 1 else _split_vectors(document, tree, size, weight)


def _split_vectors(document: Any, tree: Tree, size: int, weight: np.float32) -> list[Tree]:
    """XGBoost keeps the index of a leaf's vector in the place of its right child."""
    leaves = np.flatnonzero(tree.left < 0)
    vectors = np.array(document["leaf_weights"], dtype=np.float32).reshape(-1, size)
    vectors = vectors[np.array(document["right_children"], dtype=np.int64)[leaves]] * weight
    trees = []
    for output in range(size):
        value = tree.value.copy()
        value[leaves] = vectors[:, output]
        trees.append(replace(tree, output=output, value=value))
    return trees


def _read_categories(document: Any) -> dict[int, NDArray[np.int64]]:
    every = np.array(document.get("categories", ()), dtype=np.int64)
    spans = zip(
        document.get("categories_nodes", ()),
        document.get("categories_segments", ()),
        document.get("categories_sizes", ()),
        strict=True,
    )
    found: dict[int, NDArray[np.int64]] = {}
    for node, begin, size in spans:
        if not 0 <= begin <= begin + size <= len(every):
            raise NotCoveredError("a set of categories is not in the list of all")
        found[int(node)] = every[begin : begin + size]
    split_types = document.get("split_type", ())
    if {node for node, kind in enumerate(split_types) if kind} != set(found):
        raise NotCoveredError("its categorical splits are not understood")
    return found


def _check(forest: Forest) -> None:
    for tree in forest.trees:
        inner = tree.left >= 0
        columns = (tree.right, tree.feature, tree.value, tree.default_left, tree.cover)
        if not tree.left.size or any(column.shape != (tree.left.size,) for column in (tree.left, *columns)):
            raise NotCoveredError("a tree's columns are not of one length")
        if not _is_tree(tree):
            raise NotCoveredError("a node is not the child of one node, or there is none")
        if not 0 <= tree.output < forest.outputs:
            raise NotCoveredError("a tree belongs to no output")
        if np.any((tree.feature[inner] < 0) | (tree.feature[inner] >= forest.features)):
            raise NotCoveredError("a split is on no feature")
        if not np.all(np.isfinite(tree.value)):
            raise NotCoveredError("a leaf or a threshold is not finite")
        if not np.all(tree.cover >= 0) or not np.all(np.isfinite(tree.cover)):
            raise NotCoveredError("a node's cover is not a number from 0 on")
        if any(np.any((s < 0) | (s >= CATEGORIES_END)) for s in tree.categories.values()):
            raise NotCoveredError("a category is out of range")


def _is_tree(tree: Tree) -> bool:
    """Whether the root begins a tree: no node has two parents, and the root has none.

    Nodes that were pruned may be left over beside it.
    """
    inner = tree.left >= 0
    children = np.concatenate([tree.left[inner], tree.right[inner]])
    if np.any((children < 0) | (children >= len(tree.left))):
        return False
    parents = np.bincount(children, minlength=len(tree.left))
    return bool(parents[0] == 0 and np.all(parents < 2))
