"""What leaves give each feature by a row's bits, for all bits at once: in float64, for many leaves at once.

A leaf of value v gives feature j, with b the row's bits and r the cover ratios of the path's features,

    v (b_j - r_j) * integral over t from 0 to 1 of the product over i != j of (t b_i + (1 - t) r_i),

since the Shapley weight of a set of k of the d - 1 other features is the integral of t^k (1 - t)^(d - 1 - k). The
integrand is a polynomial of degree d - 1, so ceil(d / 2) points of Gauss and Legendre give the integral exactly.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout

type Doubles = NDArray[np.float64]


@functools.cache
def rule(points: int) -> tuple[Doubles, Doubles]:
    """Return points between 0 and 1 and their weights."""
    at, weights = np.polynomial.legendre.leggauss(points)
    return (at + 1) / 2, weights / 2


def exact_points(features: int) -> int:
    """Return how many points, of those that the kernels are made for, are exact for a path of so many features."""
    return next(points for points in layout.POINTS if 2 * points >= features)


def bits_of(features: int) -> NDArray[np.bool_]:
    """Return the bits of each index: 2^features x features, the first feature's bit the lowest."""
    return (np.arange(1 << features)[:, None] >> np.arange(features) & 1).astype(np.bool_)


def leaf_tables(values: Doubles, ratios: Doubles) -> Doubles:
    """Return what leaves give: leaves x 2^features x features, for values and leaves x features of cover ratios."""
    features = ratios.shape[1]
    bits = bits_of(features)
    result = np.zeros((len(values), 1 << features, features))
    for at, weight in zip(*rule(exact_points(features)), strict=True):
        factors = at * bits + (1 - at) * ratios[:, None, :]
        result += weight * factors.prod(axis=2)[:, :, None] / factors
    result *= values[:, None, None] * (bits - ratios[:, None, :])
    return result


def node_tables(
    above: Doubles, place: int | None, values: tuple[Doubles, Doubles], ratios: tuple[Doubles, Doubles]
) -> Doubles:
    """Return what the two children of nodes give, as one table for each node: nodes x features x 2^(above + 1).

    `above` holds the cover ratios of the path above, nodes x features. `place` is where the nodes' own feature
    stands among them, or None if it is new. `values` and `ratios` are the left and the right child's: its leaf's
    value (0 if it is none) and its cover ratio for the nodes' own feature. The index is the bits above, and over
    them whether the row goes left.
    """
    known = above.shape[1]
    bits = bits_of(known + 1)
    total = np.zeros(())
    for side, value, ratio in zip((bits[:, -1], ~bits[:, -1]), values, ratios, strict=True):
        own, inputs = bits[:, :known].copy(), above.copy()
        if place is None:
            own, inputs = np.column_stack([own, side]), np.column_stack([inputs, ratio])
        else:
            own[:, place] &= side
            inputs[:, place] = ratio
        index = own @ (1 << np.arange(own.shape[1]))
        total = total + leaf_tables(value, inputs)[:, index, :]
    return total.swapaxes(1, 2)
