"""Exact Shapley values in float64, by ways that share nothing with the kernels."""

import itertools
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Doubles = NDArray[np.float64]
type Floats = NDArray[np.float32]


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
    return list(model["trees"])


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
    """What a tree gives on average if only the known features are: the game whose Shapley values are wanted."""
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
        _add_leaves(tree, rows, result[:, tree["output"]])
    return result


def _add_leaves(tree: Any, rows: Floats, result: Doubles) -> None:
    waiting: list[tuple[int, dict[int, tuple[NDArray[np.bool_], float]]]] = [(0, {})]
    while waiting:
        node, path = waiting.pop()
        left, right = tree["left_children"][node], tree["right_children"][node]
        if left < 0:
            _add_leaf(float(tree["values"][node]), path, result)
            continue
        feature = tree["split_indices"][node]
        to_left = np.array([goes_left(tree, node, x) for x in rows[:, feature]])
        bit, ratio = path.get(feature, (np.ones(len(rows), dtype=np.bool_), 1.0))
        for child, side, share in zip((left, right), (to_left, ~to_left), shares(tree, node), strict=True):
            waiting.append((child, {**path, feature: (bit & side, ratio * share)}))


def _add_leaf(value: float, path: dict[int, tuple[NDArray[np.bool_], float]], result: Doubles) -> None:
    """Sum over subset sizes: the coefficients of the product of (r_i + b_i z), weighted by Shapley's weights."""
    features = list(path)
    for feature in features:
        polynomial = np.ones((len(result), 1))
        for other in features:
            if other == feature:
                continue
            bit, ratio = path[other]
            longer = np.zeros((len(result), polynomial.shape[1] + 1))
            longer[:, :-1] += polynomial * ratio
            longer[:, 1:] += polynomial * bit[:, None]
            polynomial = longer
        d = len(features)
        weights = np.array([1 / (d * math.comb(d - 1, size)) for size in range(d)])
        bit, ratio = path[feature]
        result[:, feature] += value * (bit - ratio) * (polynomial @ weights)
