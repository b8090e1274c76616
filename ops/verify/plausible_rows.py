"""Rows to try a model with: its own examples if they are here, made-up ones otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.models.contract import Feature, Kind
from shared.models.version import ModelVersion

type Matrix = NDArray[np.float32]

#: The share of cells that are left out: XGBoost takes what is missing, and so must all before it.
MISSING = 0.03
#: Powers of ten between which a made-up column's numbers lie: nobody says what the features are measured in.
LEAST_POWER, MOST_POWER = -1.0, 3.0


def plausible_rows(
    columns: Sequence[Feature], local: ModelVersion | None, count: int, seed: int = 1
) -> Matrix:
    """Return `count` rows with codes for categories and some missing cells; repeatable."""
    chance = np.random.default_rng(seed)
    examples = _examples(local)
    rows = (
        _made_up(columns, count, chance) if examples is None else examples[np.arange(count) % len(examples)]
    )
    rows = np.array(rows, dtype=np.float32)
    rows[chance.random(rows.shape) < MISSING] = np.nan
    return rows


def _examples(local: ModelVersion | None) -> Matrix | None:
    if local is None or local.examples_path is None:
        return None
    return np.asarray(np.load(local.examples_path, allow_pickle=False), dtype=np.float32)


def _made_up(columns: Sequence[Feature], count: int, chance: np.random.Generator) -> Matrix:
    sizes = 10.0 ** chance.uniform(LEAST_POWER, MOST_POWER, len(columns))
    rows = np.asarray(chance.normal(0.5, 1.0, (count, len(columns))) * sizes, dtype=np.float32)
    for place, column in enumerate(columns):
        if column.kind is Kind.CATEGORY:  # of one without labels, 0 and 1 are codes that every model knows
            rows[:, place] = chance.integers(0, len(column.labels) or 2, count)
        elif column.kind is Kind.BOOLEAN:
            rows[:, place] = chance.integers(0, 2, count)
    return rows
