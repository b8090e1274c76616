"""Reads from a model's trees which codes and thresholds its features are split at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.ubjson import read_ubjson

#: Boosters without trees.
_LINEAR = "gblinear"
#: How far XGBoost puts a threshold beyond all values, to part those that are there from those that are missing.
_BEYOND = 1e-4


@dataclass(frozen=True, slots=True)
class Splits:
    """The splits of one feature: the highest category code, and all thresholds in order."""

    highest_code: int | None = None
    thresholds: tuple[float, ...] = ()

    def unlike_codes(self, count: int) -> list[float]:
        """Return the thresholds that a feature of codes 0 … count - 1 would not have."""
        return [one for one in self.thresholds if not (0 < one <= count - 1 or _parts_missing(one, count))]


def splits_of(model: bytes, features: int) -> tuple[Splits, ...]:
    """Return where each feature is split in a model that XGBoost itself wrote as UBJSON."""
    booster = read_ubjson(model)["learner"]["gradient_booster"]
    codes: dict[int, int] = {}
    thresholds: dict[int, set[float]] = {}
    trees = [] if booster["name"] == _LINEAR else booster.get("gbtree", booster)["model"]["trees"]
    for tree in trees:
        _collect(tree, codes, thresholds)
    return tuple(
        Splits(codes.get(index), tuple(sorted(thresholds.get(index, ())))) for index in range(features)
    )


def _collect(tree: Any, codes: dict[int, int], thresholds: dict[int, set[float]]) -> None:
    split, left = np.asarray(tree["split_indices"]), np.asarray(tree["left_children"])
    begins, sizes = tree.get("categories_segments", ()), tree.get("categories_sizes", ())
    nodes: Sequence[int] = [int(node) for node in tree.get("categories_nodes", ())]
    for node, begin, size in zip(nodes, begins, sizes, strict=True):
        feature = int(split[node])
        codes[feature] = max(codes.get(feature, 0), *map(int, tree["categories"][begin : begin + size]))
    conditions = np.asarray(tree["split_conditions"], np.float32)
    for number in np.setdiff1d(np.flatnonzero(left >= 0), np.array(nodes, np.intp)).tolist():
        thresholds.setdefault(int(split[number]), set()).add(float(conditions[number]))


def _parts_missing(threshold: float, count: int) -> bool:
    """Whether a threshold has all codes on one side: twice the highest value, or just below 0."""
    twice = threshold - 2 * round(threshold / 2)
    return -_BEYOND <= threshold < 0 or (0 < twice <= _BEYOND and threshold / 2 <= count - 1 + _BEYOND)
