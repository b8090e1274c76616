"""SHAP values of a forest in float64, straight from its trees: the reference for engines.

It shares only the reading of the trees with the compiled tables and kernels. A leaf of value v whose path has the features
1 … d, with cover ratios r and bits b (whether the row satisfies all of the path's splits on the feature), gives feature j

    v (b_j - r_j) * integral over t from 0 to 1 of the product over i != j of (t b_i + (1 - t) r_i),

and two features i and j half of the same with both factors before the integral (Lundberg et al. 2020; the integral is that of
Yang, "Fast TreeSHAP", in closed form, and Gauss and Legendre's rule is exact for it). Many trees' leaves are taken at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.explanation import join_parts
from shared.treeshap.forest import LEAST_SHARE, Forest, Tree

type Floats = NDArray[np.float32]
type Doubles = NDArray[np.float64]

#: Trees whose leaves are collected together, and leaves that are computed together: bounds for memory.
_TREES, _LEAVES = 64, 4096


@dataclass(frozen=True, slots=True, eq=False)
class ExactExplanation:
    """An explanation in float64, with the shapes of Explanation's parts."""

    values: Doubles
    base_values: Doubles
    margins: Doubles

    @property
    def array(self) -> Doubles:
        """All parts in the layout of `Explanation.array`."""
        return join_parts(self.values, self.base_values, self.margins)


@dataclass(frozen=True, slots=True)
class Leaves:
    """Some leaves: `features`, `ratios`, `bits` are (leaves, places); -1, 1 and True if unused."""

    output: NDArray[np.int64]
    value: Doubles
    features: NDArray[np.int64]
    ratios: Doubles
    bits: NDArray[np.bool_]


def exact_values(forest: Forest, start: Floats, rows: Floats) -> ExactExplanation:
    """Explain rows (rows, features); `start` holds the margins before the first tree."""
    outputs, features = forest.outputs, forest.features
    values, bases, margins = (np.zeros((len(rows), size)) for size in (outputs * features, outputs, outputs))
    for number, row in enumerate(rows):
        for leaves in _leaves_of(forest, row):
            given = leaves.value[:, None] * (leaves.bits - leaves.ratios) * _integrals(leaves)
            places = leaves.output[:, None] * features + leaves.features
            _add(values[number], places, given, leaves.features >= 0)
            _add(bases[number], leaves.output, leaves.value * leaves.ratios.prod(axis=1))
            _add(margins[number], leaves.output, leaves.value * leaves.bits.all(axis=1))
    begin = start.astype(np.float64)
    return ExactExplanation(values.reshape(len(rows), outputs, features), bases + begin, margins + begin)


def exact_interactions(forest: Forest, start: Floats, row: Floats) -> Doubles:
    """Return one row's interactions in XGBoost's layout: (outputs, features + 1, features + 1)."""
    size = forest.features + 1
    result = np.zeros(forest.outputs * size * size)
    for leaves in _leaves_of(forest, row):
        known = leaves.features >= 0
        pairs = known[:, :, None] & known[:, None, :] & ~np.eye(known.shape[1], dtype=np.bool_)
        gains = leaves.bits - leaves.ratios
        both = 0.5 * leaves.value[:, None, None] * gains[:, :, None] * gains[:, None, :]
        places = (leaves.output[:, None, None] * size + leaves.features[:, :, None]) * size
        _add(result, places + leaves.features[:, None, :], both * _pair_integrals(leaves), pairs)
    matrices = result.reshape(forest.outputs, size, size)
    exact = exact_values(forest, start, row[None])
    diagonal = np.einsum("oii->oi", matrices)  # a view
    diagonal += np.column_stack([exact.values[0], exact.base_values[0]]) - matrices.sum(axis=2)
    return matrices


def _add(
    result: Doubles, places: NDArray[np.int64], values: Doubles, which: NDArray[np.bool_] | None = None
) -> None:
    if which is not None:
        places, values = places[which], values[which]
    result += np.bincount(places.ravel(), values.ravel(), minlength=len(result))


def _rule(leaves: Leaves) -> Iterator[tuple[float, Doubles]]:
    """Yield the weights of an exact quadrature rule, and the integrand's factors at its points."""
    at, weights = np.polynomial.legendre.leggauss((leaves.features.shape[1] + 1) // 2 or 1)
    for t, weight in zip((at + 1) / 2, weights / 2, strict=True):
        yield float(weight), t * leaves.bits + (1 - t) * leaves.ratios


def _integrals(leaves: Leaves) -> Doubles:
    result = np.zeros_like(leaves.ratios)
    for weight, factors in _rule(leaves):
        result += weight * factors.prod(axis=1)[:, None] / factors
    return result


def _pair_integrals(leaves: Leaves) -> Doubles:
    places = leaves.ratios.shape[1]
    result = np.zeros((len(leaves.value), places, places))
    for weight, factors in _rule(leaves):
        whole = weight * factors.prod(axis=1)[:, None, None]
        result += whole / (factors[:, :, None] * factors[:, None, :])
    return result


def _leaves_of(forest: Forest, row: Floats) -> Iterator[Leaves]:
    for begin in range(0, len(forest.trees), _TREES):
        for leaves in _walk(forest.trees[begin : begin + _TREES], row):
            for first in range(0, len(leaves.value), _LEAVES):
                some = slice(first, first + _LEAVES)
                yield Leaves(
                    leaves.output[some],
                    leaves.value[some],
                    leaves.features[some],
                    leaves.ratios[some],
                    leaves.bits[some],
                )


@dataclass(slots=True)
class _Nodes:
    """The nodes of several trees, one after the other; `goes_left` is the row's."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    value: Doubles
    goes_left: NDArray[np.bool_]
    shares: tuple[Doubles, Doubles]
    output: NDArray[np.int64]
    roots: NDArray[np.int64]


def _lay_out(trees: tuple[Tree, ...], row: Floats) -> _Nodes:
    sizes = np.array([len(tree.left) for tree in trees])
    roots = np.cumsum(sizes) - sizes
    offsets = np.repeat(roots, sizes)
    left, right, feature, value, cover = (
        np.concatenate([getattr(tree, name) for tree in trees])
        for name in ("left", "right", "feature", "value", "cover")
    )
    inner = left >= 0
    left, right = (np.where(inner, child + offsets, -1).astype(np.int64) for child in (left, right))
    cover = cover.astype(np.float64)
    above = np.where(cover > 0, cover, 1.0)
    to_left, to_right = (
        np.where(cover > 0, np.maximum(cover[child] / above, LEAST_SHARE), 0.5) for child in (left, right)
    )
    goes_left = np.concatenate([goes_left_in(tree, row) for tree in trees])
    output = np.repeat([tree.output for tree in trees], sizes)
    return _Nodes(
        left=left,
        right=right,
        feature=feature.astype(np.int64),
        value=value.astype(np.float64),
        goes_left=goes_left,
        shares=(to_left, to_right),
        output=output,
        roots=roots,
    )


def goes_left_in(tree: Tree, row: Floats) -> NDArray[np.bool_]:
    """Return for each node of a tree whether a row goes left there; any value for leaves."""
    x = row[np.where(tree.left >= 0, tree.feature, 0)]
    left: NDArray[np.bool_] = x < tree.value
    for node, categories in tree.categories.items():
        left[node] = not (x[node] >= 0 and np.trunc(x[node]) in categories)
    return np.where(np.isnan(x), tree.default_left, left)


@dataclass(slots=True)
class _Frontier:
    """The nodes of one level, each with its path as in Leaves."""

    node: NDArray[np.int64]
    features: NDArray[np.int64]
    ratios: Doubles
    bits: NDArray[np.bool_]

    def only(self, which: NDArray[np.bool_]) -> _Frontier:
        return _Frontier(self.node[which], self.features[which], self.ratios[which], self.bits[which])

    def with_room_for(self, own: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of each node's feature in its path; widen the paths where there is none."""
        known = self.features == own[:, None]
        new = ~known.any(axis=1)
        place = (self.features >= 0).sum(axis=1)
        if np.any(place[new] == self.features.shape[1]):
            widths = ((0, 0), (0, 1))
            self.features = np.pad(self.features, widths, constant_values=-1)
            self.ratios = np.pad(self.ratios, widths, constant_values=1.0)
            self.bits = np.pad(self.bits, widths, constant_values=True)
            known = np.pad(known, widths)
        return np.where(new, place, known.argmax(axis=1))


def _walk(trees: tuple[Tree, ...], row: Floats) -> Iterator[Leaves]:
    """Go down all trees level by level; yield the leaves of each level."""
    nodes = _lay_out(trees, row)
    shape = (len(nodes.roots), 0)
    level = _Frontier(nodes.roots, np.full(shape, -1), np.ones(shape), np.ones(shape, dtype=np.bool_))
    while len(level.node):
        leaf = nodes.left[level.node] < 0
        ended, level = level.only(leaf), level.only(~leaf)
        if len(ended.node):
            at = ended.node
            yield Leaves(nodes.output[at], nodes.value[at], ended.features, ended.ratios, ended.bits)
        if len(level.node):
            level = _below(nodes, level)


def _below(nodes: _Nodes, level: _Frontier) -> _Frontier:
    """Return the children of a level's nodes."""
    node, own = level.node, nodes.feature[level.node]
    place, every = level.with_room_for(own), np.arange(len(level.node))
    goes_left = nodes.goes_left[node]
    sides = ((nodes.left, nodes.shares[0], goes_left), (nodes.right, nodes.shares[1], ~goes_left))
    below = []
    for child, share, side in sides:
        features, ratios, bits = level.features.copy(), level.ratios.copy(), level.bits.copy()
        features[every, place] = own
        ratios[every, place] *= share[node]
        bits[every, place] &= side
        below.append((child[node], features, ratios, bits))
    return _Frontier(*(np.concatenate(pair) for pair in zip(*below, strict=True)))
