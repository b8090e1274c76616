"""What quadrature multiplies with at each node, worked out beforehand as native/quadrature_points.h does by the way.

A block of rows hides that work; a single row does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout
from shared.treeshap.tables import Doubles, rule


def node_factors(
    nodes: NDArray[Any], points: int, gain_weights: Doubles | None = None
) -> NDArray[np.float32]:
    """Return the factors of a tree's nodes: nodes x FACTORS x points, for each side kept, lost, gain, and what is given.

    `gain_weights` is what gains are weighted by at each point, the rule's own weights unless it is given.
    """
    at, weights = rule(points)
    weights = weights if gain_weights is None else gain_weights
    own = np.where(
        (nodes["flags"] & layout.REPEATED != 0)[:, None], at + (1 - at) * nodes["ratio_above"][:, None], 1.0
    )
    found = np.empty((len(nodes), layout.FACTORS, points))
    for place, name in ((0, "left"), (3, "right")):
        value = np.where(nodes[name] < 0, nodes[f"{name}_value"], 1.0)[:, None]
        lost = (1 - at) * nodes[f"{name}_ratio"][:, None]
        found[:, place] = (lost + at) / own * value
        found[:, place + 1] = lost / own * value
        found[:, place + 2] = weights * (1 - nodes[f"{name}_ratio"][:, None]) / (lost + at)
    found[:, 6] = weights * (1 - nodes["ratio_above"][:, None]) / own
    _join_pairs(found, nodes)
    return found.astype(np.float32)


def _join_pairs(found: Doubles, nodes: NDArray[Any]) -> None:
    """Two leaves under a new feature are one number, where the row goes left, and another one where it goes right."""
    pair = (nodes["left"] < 0) & (nodes["right"] < 0) & (nodes["flags"] & layout.REPEATED == 0)
    to_left = found[pair, 0] + found[pair, 4]
    to_right = found[pair, 1] + found[pair, 3]
    found[pair, 0], found[pair, 1] = to_left, to_right
