"""Rows as people write them: the labels of categories instead of their codes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.models.contract import Feature, Kind, Label

#: A number, a label, or None for a missing value.
type Cell = float | Label | None


def labelled_rows(features: Sequence[Feature], rows: NDArray[np.float32]) -> list[list[Cell]]:
    """Return rows (rows, features) as a client may send them.

    A float32 becomes the shortest number that gives it back.
    """
    numbers = orjson.dumps(np.ascontiguousarray(rows, dtype=np.float32), option=orjson.OPT_SERIALIZE_NUMPY)
    cells: list[list[Cell]] = orjson.loads(numbers)
    for place, feature in enumerate(features):
        if feature.kind is Kind.CATEGORY:
            for row, code in zip(cells, rows[:, place].tolist(), strict=True):
                row[place] = _label(feature, code)
    return cells


def _label(feature: Feature, code: float) -> Cell:
    """Return a code's label; the code itself where the model knows no labels."""
    if math.isnan(code):
        return None
    return feature.labels[int(code)] if code < len(feature.labels) else int(code)
