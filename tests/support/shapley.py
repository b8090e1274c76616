"""Shapley values in float64 by their definition, and models to compare."""

import itertools
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.boosters import tree_document

type Doubles = NDArray[np.float64]
type Floats = NDArray[np.float32]
#: How models of each kind are trained.
KINDS: dict[str, dict[str, Any]] = {
    "one output": {"depth": 4, "features": 6},
    "features repeated on a path": {"depth": 6, "features": 2},
    "deeper than tables": {"depth": 8, "features": 7, "min_child_weight": 4},
    "deeper than tables and repeated": {"depth": 9, "features": 3, "min_child_weight": 0},
    "several classes": {"depth": 3, "features": 4, "objective": "multi:softprob", "num_class": 3},
    "several targets": {"depth": 3, "features": 4, "targets": 2},
    "a vector in each leaf": {"depth": 4, "features": 4, "targets": 3, "multi_strategy": "multi_output_tree"},
    "a single leaf in each tree": {"depth": 3, "features": 3, "gamma": 1e9, "base_score": 0.1},
    "a forest in each round": {"depth": 3, "features": 4, "num_parallel_tree": 3, "subsample": 0.5},
    "dart": {"depth": 3, "features": 4, "booster": "dart", "rate_drop": 0.5, "one_drop": 1},
    "categories in a set": {"depth": 4, "features": 4, "categories": 40, "max_cat_to_onehot": 1},
    "categories one by one": {"depth": 4, "features": 4, "categories": 5, "max_cat_to_onehot": 8},
    "leaves in loss order": {"depth": 0, "features": 5, "grow_policy": "lossguide", "max_leaves": 20},
}
#: Kinds whose trees have tables against a background as they are.
_SHALLOW = (
    "one output",
    "features repeated on a path",
    "several classes",
    "several targets",
    "a single leaf in each tree",
    "a forest in each round",
    "dart",
    "categories in a set",
)
#: Kinds that have tables against a background.
WITH_BACKGROUND: dict[str, dict[str, Any]] = {
    "seven bits": {"depth": 7, "features": 7, "min_child_weight": 0},
    "eight bits": {"depth": 9, "features": 9, "min_child_weight": 0},
    **{kind: KINDS[kind] for kind in _SHALLOW},
}
_EDGES = (
    0.0,
    -0.0,
    1.0,
    np.nextafter(np.float32(1), np.float32(2)),
    1e-45,
    -1e-45,
    1.1754942e-38,
    3e38,
    -3e38,
)
#: Numbers at the edges of float32.
edge = st.sampled_from([float(np.float32(value)) for value in _EDGES])


@st.composite
def odd_trees(draw: st.DrawFn, features: int = 3) -> Any:
    """A tree with any thresholds, repeats and default sides, and nodes without cover."""
    splits, leaves, covers = {}, {}, {0: 64.0}
    waiting = [0]
    while waiting:
        node = waiting.pop()
        if node > 30 or draw(st.integers(0, 3)) == 0:
            leaves[node] = draw(st.floats(-4, 4, width=32))
            continue
        splits[node] = (draw(st.integers(0, features - 1)), draw(edge), draw(st.booleans()))
        part = draw(st.sampled_from([0.5, 0.25, 0.0, 1.0, 1e-6]))
        covers |= {2 * node + 1: covers[node] * part, 2 * node + 2: covers[node] * (1 - part)}
        waiting += [2 * node + 1, 2 * node + 2]
    return tree_document(splits, leaves, covers, features)


def chain(depth: int, ratio: float) -> Any:
    """A tree of one path with a feature of its own at each level; covers shrink by `ratio`."""
    splits = {2**level - 1: (level, 0.0, False) for level in range(depth)}
    leaves = {2**level: 1.0 + level % 5 for level in range(1, depth + 1)} | {2**depth - 1: 7.0}
    covers = {2**level - 1: ratio ** (depth - level) for level in range(depth + 1)}
    covers |= {2**level: covers[2 ** (level - 1) - 1] - covers[2**level - 1] for level in range(1, depth + 1)}
    return tree_document(splits, leaves, covers, depth)


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


#: The worth of each coalition of players.
type Game = dict[frozenset[int], float]


def coalitions(players: Iterable[int]) -> list[frozenset[int]]:
    some = list(players)
    return [frozenset(one) for size in range(len(some) + 1) for one in itertools.combinations(some, size)]


def _games(booster: Any, rows: Floats) -> Iterator[tuple[Any, int, list[int], Game]]:
    """Yield for each tree and row the tree's features and its averages if some are known."""
    for tree in trees_of(document_of(booster)):
        leaves = np.array(tree["left_children"]) < 0
        features = sorted({f for f, leaf in zip(tree["split_indices"], leaves, strict=True) if not leaf})
        for at, row in enumerate(rows):
            yield tree, at, features, {some: expectation(tree, row, some) for some in coalitions(features)}


def _value(game: Game, player: int, players: int) -> float:
    """A player's Shapley value, by the definition."""
    total = 0.0
    for some, worth in game.items():
        if player not in some:
            weight = 1 / (players * math.comb(players - 1, len(some)))
            total += weight * (game[some | {player}] - worth)
    return total


def _interaction(game: Game, i: int, j: int, players: int) -> float:
    """Half of two players' Shapley interaction index, by the definition."""
    total = 0.0
    for some, worth in game.items():
        if i not in some and j not in some:
            weight = 1 / (2 * (players - 1) * math.comb(players - 2, len(some)))
            total += weight * (game[some | {i, j}] - game[some | {i}] - game[some | {j}] + worth)
    return total


def by_subsets(booster: Any, rows: Floats, outputs: int = 1) -> tuple[Doubles, Doubles]:
    """Values (rows x outputs x features) and interactions (one axis more, diagonal 0)."""
    values = np.zeros((len(rows), outputs, rows.shape[1]))
    pairs = np.zeros((*values.shape, rows.shape[1]))
    for tree, at, features, game in _games(booster, rows):
        for feature in features:
            values[at, tree["output"], feature] += _value(game, feature, len(features))
        for i, j in itertools.permutations(features, 2):
            pairs[at, tree["output"], i, j] += _interaction(game, i, j, len(features))
    return values, pairs


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
    weights = np.array([1 / (len(path) * math.comb(len(path) - 1, size)) for size in range(len(path))])
    for feature, (bit, ratio) in path.items():
        polynomial = np.ones((len(result), 1))
        for other, (other_bit, other_ratio) in path.items():
            if other != feature:
                longer = np.zeros((len(result), polynomial.shape[1] + 1))
                longer[:, :-1] += polynomial * other_ratio
                longer[:, 1:] += polynomial * other_bit[:, None]
                polynomial = longer
        result[:, feature] += value * (bit - ratio) * (polynomial @ weights)


def interventional_by_subsets(booster: Any, rows: Floats, background: Floats, outputs: int) -> Doubles:
    """Shapley values of the game whose players bring the row's values into each background row."""
    features = rows.shape[1]
    result = np.zeros((len(rows), outputs, features))
    for tree in trees_of(document_of(booster)):
        for at, row in enumerate(rows):
            game = {}
            for some in coalitions(range(features)):
                mixed = background.copy()
                mixed[:, list(some)] = row[list(some)]
                game[some] = float(np.mean([_leaf_value(tree, one) for one in mixed]))
            for feature in range(features):
                result[at, tree["output"], feature] += _value(game, feature, features)
    return result


def _leaf_value(tree: Any, row: Floats) -> float:
    node = 0
    while tree["left_children"][node] >= 0:
        left = goes_left(tree, node, row[tree["split_indices"][node]])
        node = tree["left_children" if left else "right_children"][node]
    return float(tree["values"][node])
