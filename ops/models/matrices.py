"""Reads the rows that come with a model, and keeps a sample of them where they are many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.api.rows.readers import read_rows_file
from shared.models.contract import Feature


def spaced(count: int, most: int) -> NDArray[np.intp]:
    """Return at most `most` positions of `count`, evenly spaced, first and last included."""
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).round().astype(np.intp)


def read_sample(
    path: Path, features: tuple[Feature, ...], missing: tuple[float, ...], most: int
) -> tuple[NDArray[np.float32], int]:
    """Read a file of rows; return at most `most` of them, evenly spaced, and their number."""
    rows = read_rows_file(path, features, missing)
    return rows[spaced(len(rows), most)], len(rows)
