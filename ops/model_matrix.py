"""Reads the matrices that come with a new model, where its features are known by name only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.api.readers.files import read_rows_file
from shared.models.contract import Feature

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def read_matrix(path: Path, features: tuple[str, ...]) -> NDArray[np.float32]:
    """Read a file of rows of numbers as float32, rows x features. Raises what `read_rows_file` does."""
    return read_rows_file(path, tuple(Feature(name) for name in features))
