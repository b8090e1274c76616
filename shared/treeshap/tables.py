"""The effects of leaves, as tables by bits and as factors of quadrature, in float64.

A leaf of value v gives feature j, with b the row's bits and r the cover ratios of the path's features,

    v (b_j - r_j) * integral over t from 0 to 1 of the product over i != j of (t b_i + (1 - t) r_i),

since the Shapley weight of a set of k of the d - 1 other features is the integral of t^k (1 - t)^(d - 1 - k). The
integrand is a polynomial of degree d - 1, so ceil(d / 2) points of Gauss and Legendre give the integral exactly.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout

type Doubles = NDArray[np.float64]
type Records = NDArray[Any]


@functools.cache
def rule(points: int) -> tuple[Doubles, Doubles]:
    """Return points between 0 and 1 and their weights."""
    at, weights = np.polynomial.legendre.leggauss(points)
    return (at + 1) / 2, weights / 2


def exact_points(features: int) -> int:
    """Return the fewest points of the kernels that are exact for a path of so many features."""
    return next(points for points in layout.POINTS if 2 * points >= features)


def bits_of(features: int) -> NDArray[np.bool_]:
    """Return the bits of each index: 2^features x features, the first feature's bit the lowest."""
    return (np.arange(1 << features)[:, None] >> np.arange(features) & 1).astype(np.bool_)


def leaf_tables(values: Doubles, ratios: Doubles) -> Doubles:
    """Return leaves x 2^features x features; `ratios` is leaves x features of cover ratios."""
    features = ratios.shape[1]
    bits = bits_of(features)
    result = np.zeros((len(values), 1 << features, features))
    for at, weight in zip(*rule(exact_points(features)), strict=True):
        factors = at * bits + (1 - at) * ratios[:, None, :]
        result += weight * factors.prod(axis=2)[:, :, None] / factors
    result *= values[:, None, None] * (bits - ratios[:, None, :])
    return result


def node_tables(nodes: Records, above: Doubles, place: int | None) -> Doubles:
    """Return one table for each node's leaf children: nodes x features x 2^(above + 1).

    `above` holds the cover ratios of the path above, nodes x features. `place` is where the nodes' own feature
    is among them, or None if it is new. The index is the bits above, and over them whether the row goes left.
    """
    known = above.shape[1]
    bits = bits_of(known + 1)
    total = np.zeros(())
    for name, side in (("left", bits[:, -1]), ("right", ~bits[:, -1])):
        own, inputs, ratio = bits[:, :known].copy(), above.copy(), nodes[f"{name}_ratio"]
        if place is None:
            own, inputs = np.column_stack([own, side]), np.column_stack([inputs, ratio])
        else:
            own[:, place] &= side
            inputs[:, place] = ratio
        index = own @ (1 << np.arange(own.shape[1]))
        total = total + leaf_tables(nodes[f"{name}_value"].astype(np.float64), inputs)[:, index, :]
    return total.swapaxes(1, 2)


def table_sizes(nodes: Records) -> NDArray[np.int64]:
    """Return how many floats each node's table takes: none without a leaf below."""
    above = nodes["above"].astype(np.int64)
    features = above + (nodes["flags"] & layout.REPEATED == 0)
    has_leaf = (nodes["left"] < 0) | (nodes["right"] < 0)
    return np.where(has_leaf, np.maximum(layout.TABLE_ROW, 2 << above) * features, 0)


def place_tables(nodes: Records, sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Note in the nodes where their tables are (-1: none); return zeros for all tables."""
    nodes["table"] = np.where(sizes > 0, (np.cumsum(sizes) - sizes) // layout.TABLE_ROW, -1)
    return np.zeros(int(sizes.sum()), dtype=np.float32)


def alike(nodes: Records, at_once: int) -> Iterator[tuple[int, int | None, NDArray[np.int64]]]:
    """Yield indexes of nodes whose tables have one shape, at most `at_once` together.

    With them how many features they have above, and the place of the one that they repeat, or None.
    """
    places = np.where(nodes["flags"] & layout.REPEATED != 0, nodes["bit"].astype(np.int64), -1)
    kinds = np.where(nodes["table"] >= 0, nodes["above"] * np.int64(256) + places, -2)
    for kind in np.unique(kinds[kinds > -2]):
        found = np.flatnonzero(kinds == kind)
        known, place = int(nodes["above"][found[0]]), int(places[found[0]])
        for begin in range(0, len(found), at_once):
            yield known, None if place < 0 else place, found[begin : begin + at_once]


def put_tables(tables: NDArray[np.float32], nodes: Records, made: Doubles) -> None:
    """Write what was made for nodes (nodes x features x 2^bits) where their tables are."""
    size = max(made.shape[2], layout.TABLE_ROW)
    rows = np.zeros((*made.shape[:2], size), dtype=np.float32)
    rows[:, :, : made.shape[2]] = made
    places = nodes["table"].astype(np.int64)[:, None] * layout.TABLE_ROW + np.arange(rows[0].size)
    tables[places] = rows.reshape(len(made), -1)


def along_paths[T: np.generic](nodes: Records, left: NDArray[T], right: NDArray[T]) -> NDArray[T]:
    """Return each node's path, by its features' places: nodes x (most features above + 1).

    A child's path holds its parent's, with the parent's `left` or `right` in the place of the parent's feature.
    """
    paths = np.zeros((len(nodes), int(nodes["above"].max(initial=0)) + 1), dtype=left.dtype)
    for level in range(int(nodes["level"].max(initial=0)) + 1):
        here = np.flatnonzero(nodes["level"] == level)
        for name, held in (("left", left), ("right", right)):
            inner = here[nodes[name][here] >= 0]
            children = nodes[name][inner]
            paths[children] = paths[inner]
            paths[children, nodes["bit"][inner]] = held[inner]
    return paths


def factor_sizes(trees: Records) -> NDArray[np.int64]:
    """Return how many floats the factors of each tree take, in whole rows."""
    sizes = layout.FACTORS * trees["points"].astype(np.int64) * trees["nodes"]
    whole: NDArray[np.int64] = -(-sizes // layout.TABLE_ROW) * layout.TABLE_ROW
    return whole


def tree_factors(trees: Records, nodes: Records) -> NDArray[np.float32]:
    """Return the factors of trees one after the other.

    Of each node and point what quadrature multiplies with: for each side kept, lost and gain, then the gain so far.
    native/quadrature.h makes the same during its work: a block of rows hides the time, a single row does not.
    """
    sizes = factor_sizes(trees)
    made, begin = np.zeros(int(sizes.sum()), dtype=np.float32), 0
    for tree, size in zip(trees, sizes.tolist(), strict=True):
        found = _node_factors(nodes[tree["first"] : tree["first"] + tree["nodes"]], int(tree["points"]))
        made[begin : begin + found.size] = found.ravel()
        begin += size
    return made


def _node_factors(nodes: Records, points: int) -> Doubles:
    at, weights = rule(points)
    repeated = nodes["flags"] & layout.REPEATED != 0
    own = np.where(repeated[:, None], at + (1 - at) * nodes["ratio_above"][:, None], 1.0)
    found = np.empty((len(nodes), layout.FACTORS, points))
    for place, name in ((0, "left"), (3, "right")):
        value = np.where(nodes[name] < 0, nodes[f"{name}_value"], 1.0)[:, None]
        lost = (1 - at) * nodes[f"{name}_ratio"][:, None]
        found[:, place] = (lost + at) / own * value
        found[:, place + 1] = lost / own * value
        found[:, place + 2] = weights * (1 - nodes[f"{name}_ratio"][:, None]) / (lost + at)
    found[:, 6] = weights * (1 - nodes["ratio_above"][:, None]) / own
    # Two leaves under a new feature are one number where the row goes left, and another one where it goes right.
    pair = (nodes["left"] < 0) & (nodes["right"] < 0) & ~repeated
    to_left, to_right = found[pair, 0] + found[pair, 4], found[pair, 1] + found[pair, 3]
    found[pair, 0], found[pair, 1] = to_left, to_right
    return found
