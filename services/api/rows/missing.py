"""The numbers that a model takes for "missing"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Markers:
    """A model's missing markers. Like XGBoost, they are compared after both sides are rounded to float32."""

    def __init__(self, missing: tuple[float, ...]) -> None:
        self._markers = round_to_float32(missing)

    def __bool__(self) -> bool:
        return bool(len(self._markers))

    def find(self, values: ArrayLike) -> NDArray[np.bool_]:
        """Tell which of the values are markers."""
        return np.isin(round_to_float32(values), self._markers)

    def erase(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values with NaN for each marker; the array itself where it holds none."""
        found = self.find(values)
        return np.where(found, np.float32(np.nan), values) if found.any() else values


def round_to_float32(values: ArrayLike) -> NDArray[np.float32]:
    """Round numbers to float32, beyond its range to infinity."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values).astype(np.float32, copy=False)
