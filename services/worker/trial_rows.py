"""Rows that a compiled model is tried with before anybody relies on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.treeshap.compiled import Compiled

#: Rows that are compared: more than a block, so that whole blocks and the rest of one are.
TRIAL_ROWS = 300


def trial_rows(compiled: Compiled) -> NDArray[np.float32]:
    """Return rows whose values are the model's thresholds, their neighbours, categories, and some missing."""
    chance = np.random.default_rng(0)
    rows = np.zeros((TRIAL_ROWS, compiled.features), dtype=np.float32)
    for column, feature in enumerate(compiled.columns):
        of_it = compiled.nodes["threshold"][compiled.nodes["column"] == column]
        values = chance.choice(of_it, TRIAL_ROWS)
        up = np.where(chance.random(TRIAL_ROWS) < 0.5, np.inf, -np.inf).astype(np.float32)
        values = np.where(chance.random(TRIAL_ROWS) < 0.5, values, np.nextafter(values, up))
        rows[:, feature] = np.clip(values, -3e38, 3e38)
    with_categories = compiled.nodes["column"][compiled.nodes["words"] > 0]
    for column in np.unique(with_categories):
        rows[:, compiled.columns[column]] = chance.integers(0, 64, TRIAL_ROWS)
    rows[chance.random(rows.shape) < 0.1] = np.nan
    rows[0] = np.nan
    return rows
