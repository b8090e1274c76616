"""Exact Shapley values in float64, by ways that share nothing with the kernels."""

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Doubles = NDArray[np.float64]
type Floats = NDArray[np.float32]
#: A path's features: which rows satisfy its splits on each, and the cover ratio.
type Path = dict[int, tuple[NDArray[np.bool_], float]]


def document_of(booster: Any) -> Any:
    return json.loads(bytes(booster.save_raw("json")))


def trees_of(document: Any) -> list[Any]:
    booster = document["learner"]["gradient_booster"]
    model = booster.get("gbtree", booster)["model"]
    weights = model.get("weight_drop") or [1.0] * len(model["trees"])
    for tree, output, weight in zip(model["trees"], model["tree_info"], weights, strict=True):
        tree["output"] = output
        leaves = np.array(tree["left_children"]) < 0
        values = np.array(tree["split_conditions"]).astype(np.float32) * np.where(
            leaves, np.float32(weight), np.float32(1)
        )
        tree["values"] = values.astype(np.float64)
        spans = zip(
            tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
        )
        tree["sets"] = {node: set(tree["categories"][at : at + size]) for node, at, size in spans}
    return [one for tree in model["trees"] for one in _by_outputs(tree)]


def _by_outputs(tree: Any) -> list[Any]:
    """Return a tree with vector leaves as one tree for each output."""
    size = int(tree["tree_param"]["size_leaf_vector"])
    if size <= 1:
        return [tree]
    vectors = np.array(tree["leaf_weights"]).astype(np.float32).astype(np.float64).reshape(-1, size)
    places = [
        right if left < 0 else 0
        for left, right in zip(tree["left_children"], tree["right_children"], strict=True)
    ]
    return [{**tree, "output": output, "values": vectors[places, output]} for output in range(size)]


def goes_left(tree: Any, node: int, x: np.float32) -> bool:
    if np.isnan(x):
        return bool(tree["default_left"][node])
    if node in tree["sets"]:
        return not (0 <= x < 1 << 24 and int(x) in tree["sets"][node])
    return bool(x < np.float32(tree["split_conditions"][node]))


def shares(tree: Any, node: int) -> tuple[float, float]:
    """XGBoost's BranchWeight, without its rounding to float32."""
    covers = np.array(tree["sum_hessian"]).astype(np.float32).astype(np.float64)
    if covers[node] <= 0:
        return 0.5, 0.5
    left, right = (covers[tree[side][node]] / covers[node] for side in ("left_children", "right_children"))
    return max(left, 1e-12), max(right, 1e-12)


def expectation(tree: Any, row: Floats, known: frozenset[int], node: int = 0) -> float:
    """The average of a tree if only some features are known: the game of Shapley values."""
    left, right = tree["left_children"][node], tree["right_children"][node]
    if left < 0:
        return float(tree["values"][node])
    feature = tree["split_indices"][node]
    if feature in known:
        return expectation(tree, row, known, left if goes_left(tree, node, row[feature]) else right)
    to_left, to_right = shares(tree, node)
    return to_left * expectation(tree, row, known, left) + to_right * expectation(tree, row, known, right)


def shapley_by_subsets(booster: Any, rows: Floats, outputs: int = 1) -> Doubles:
    """By the definition, over all subsets of a tree's features: rows x outputs x features."""
    trees = trees_of(document_of(booster))
    result = np.zeros((len(rows), outputs, rows.shape[1]))
    for tree in trees:
        leaves = np.array(tree["left_children"]) < 0
        features = sorted({f for f, leaf in zip(tree["split_indices"], leaves, strict=True) if not leaf})
        for at, row in enumerate(rows):
            for feature in features:
                result[at, tree["output"], feature] += _shapley(tree, row, feature, features)
    return result


def _shapley(tree: Any, row: Floats, feature: int, features: list[int]) -> float:
    others = [other for other in features if other != feature]
    total = 0.0
    for size in range(len(features)):
        weight = 1 / (len(features) * math.comb(len(others), size))
        for subset in itertools.combinations(others, size):
            known = frozenset(subset)
            total += weight * (expectation(tree, row, known | {feature}) - expectation(tree, row, known))
    return total


def shapley_by_leaves(booster: Any, rows: Floats, outputs: int = 1) -> Doubles:
    """Leaf by leaf with polynomials in float64, for models that are too large for subsets."""
    result = np.zeros((len(rows), outputs, rows.shape[1]))
    for tree in trees_of(document_of(booster)):
        for value, path in _leaves(tree, rows):
            _add_leaf(value, path, result[:, tree["output"]])
    return result


def _leaves(tree: Any, rows: Floats) -> Iterator[tuple[float, Path]]:
    waiting: list[tuple[int, Path]] = [(0, {})]
    while waiting:
        node, path = waiting.pop()
        left, right = tree["left_children"][node], tree["right_children"][node]
        if left < 0:
            yield float(tree["values"][node]), path
            continue
        feature = tree["split_indices"][node]
        to_left = np.array([goes_left(tree, node, x) for x in rows[:, feature]])
        bit, ratio = path.get(feature, (np.ones(len(rows), dtype=np.bool_), 1.0))
        for child, side, share in zip((left, right), (to_left, ~to_left), shares(tree, node), strict=True):
            waiting.append((child, {**path, feature: (bit & side, ratio * share)}))


def _add_leaf(value: float, path: Path, result: Doubles) -> None:
    """Sum over subset sizes the coefficients of the product of (r_i + b_i z), with weights."""
    for feature, (bit, ratio) in path.items():
        polynomial = _polynomial(path, {feature}, len(result))
        result[:, feature] += value * (bit - ratio) * (polynomial @ _weights(len(path)))


def _polynomial(path: Path, without: set[int], rows: int) -> Doubles:
    """The coefficients of the product of (r_i + b_i z), without some features: rows x sizes."""
    polynomial = np.ones((rows, 1))
    for other, (bit, ratio) in path.items():
        if other in without:
            continue
        longer = np.zeros((rows, polynomial.shape[1] + 1))
        longer[:, :-1] += polynomial * ratio
        longer[:, 1:] += polynomial * bit[:, None]
        polynomial = longer
    return polynomial


def _weights(players: int) -> Doubles:
    return np.array([1 / (players * math.comb(players - 1, size)) for size in range(players)])


def interactions_by_subsets(booster: Any, rows: Floats, outputs: int = 1) -> Doubles:
    """The definition over all subsets: rows x outputs x features x features, diagonal 0."""
    result = np.zeros((len(rows), outputs, rows.shape[1], rows.shape[1]))
    for tree in trees_of(document_of(booster)):
        leaves = np.array(tree["left_children"]) < 0
        features = sorted({f for f, leaf in zip(tree["split_indices"], leaves, strict=True) if not leaf})
        subsets = [
            frozenset(some)
            for size in range(len(features) + 1)
            for some in itertools.combinations(features, size)
        ]
        for at, row in enumerate(rows):
            worth = {subset: expectation(tree, row, subset) for subset in subsets}
            for i, j in itertools.permutations(features, 2):
                result[at, tree["output"], i, j] += _interaction(worth, i, j, len(features))
    return result


def _interaction(worth: dict[frozenset[int], float], i: int, j: int, features: int) -> float:
    total = 0.0
    for subset, alone in worth.items():
        if i not in subset and j not in subset:
            weight = 1 / (2 * (features - 1) * math.comb(features - 2, len(subset)))
            total += weight * (worth[subset | {i, j}] - worth[subset | {i}] - worth[subset | {j}] + alone)
    return total


def interactions_by_leaves(booster: Any, rows: Floats, outputs: int = 1) -> Doubles:
    """Leaf by leaf with polynomials in float64, for models that are too large for subsets."""
    result = np.zeros((len(rows), outputs, rows.shape[1], rows.shape[1]))
    for tree in trees_of(document_of(booster)):
        for value, path in _leaves(tree, rows):
            for i, j in itertools.combinations(path, 2):
                polynomial = _polynomial(path, {i, j}, len(rows))
                weights = _weights(len(path) - 1) / 2
                gains = np.prod([path[one][0] - path[one][1] for one in (i, j)], axis=0)
                given = value * gains * (polynomial @ weights)
                result[:, tree["output"], i, j] += given
                result[:, tree["output"], j, i] += given
    return result
