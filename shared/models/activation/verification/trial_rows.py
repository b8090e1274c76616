"""Trial rows: rows made of a model's own thresholds, on which its engines are verified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.explanation import Explanation
from shared.models.contract import Feature, Kind
from shared.treeshap.compiled import Compiled
from shared.treeshap.forest import Forest

#: Trial rows: more than a block, so that a whole block and a part of one are compared.
TRIAL_ROWS = 300
#: Numbers of their explanation, at most: boot has little memory. A few rows are always compared.
TRIAL_NUMBERS, LEAST_ROWS = 2**21, 8
#: Leaves that XGBoost visits in all rows that it explains: a row of 160,000 leaves takes 50 ms, its interactions more.
EXPLAINED_LEAVES, PAIR_LEAVES = 2**22, 2**20
#: Codes that are tried where a category has no labels.
CODES = 64

type Floats = NDArray[np.float32]


def trial_rows(forest: Forest | None, features: Sequence[Feature], outputs: int) -> Floats:
    """Return rows of thresholds, their neighbours, categories' codes, and missing values.

    A model without trees gets numbers of the normal distribution.
    """
    chance = np.random.default_rng(0)
    count = min(TRIAL_ROWS, max(LEAST_ROWS, TRIAL_NUMBERS // Explanation.numbers_of(outputs, len(features))))
    thresholds, with_categories = _splits(forest)
    rows = np.zeros((count, len(features)), dtype=np.float32)
    for place, feature in enumerate(features):
        if feature.kind is Kind.CATEGORY or place in with_categories:
            rows[:, place] = chance.integers(0, len(feature.labels) or CODES, count)
        elif place in thresholds:
            rows[:, place] = _near(thresholds[place], count, chance)
        elif forest is None:
            rows[:, place] = chance.normal(size=count)
    rows[chance.random(rows.shape) < 0.1] = np.nan
    rows[0] = np.nan
    return rows


def rows_within(leaves_visited: int, forest: Forest | None) -> int:
    """Return how many rows visit at most so many leaves; a few in any case."""
    leaves = 0 if forest is None else sum(int((tree.left < 0).sum()) for tree in forest.trees)
    return max(LEAST_ROWS, leaves_visited // max(1, leaves))


def rows_for_tables(compiled: Compiled, forest: Forest) -> Floats:
    """Return trial rows of a model without a contract."""
    return trial_rows(forest, [Feature(f"f{place}") for place in range(forest.features)], compiled.outputs)


def _splits(forest: Forest | None) -> tuple[dict[int, Floats], set[int]]:
    """Return each feature's thresholds, and the features that are split by categories."""
    trees = forest.trees if forest is not None else ()
    features, values = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.float32)]
    with_categories: set[int] = set()
    for tree in trees:
        numeric = tree.left >= 0
        numeric[list(tree.categories)] = False
        with_categories |= {int(tree.feature[node]) for node in tree.categories}
        features.append(tree.feature[numeric])
        values.append(tree.value[numeric])
    feature, value = np.concatenate(features), np.concatenate(values)
    order = np.argsort(feature, kind="stable")
    places, begins = np.unique(feature[order], return_index=True)
    return dict(zip(places.tolist(), np.split(value[order], begins[1:]), strict=False)), with_categories


def _near(thresholds: Floats, count: int, chance: np.random.Generator) -> Floats:
    values = chance.choice(thresholds, count)
    up = np.where(chance.random(count) < 0.5, np.inf, -np.inf).astype(np.float32)
    values = np.where(chance.random(count) < 0.5, values, np.nextafter(values, up))
    return np.clip(values, -3e38, 3e38).astype(np.float32)
