"""The explanation of rows: SHAP values, base values and margins as views of one array.

One array, because it is what engines fill, what is stored, and what is sent. Only this module knows where in it each
part lies: for every row and output first the features' values, then the base value, then the margin. The first two are
laid out as XGBoost's `Booster.predict(pred_contribs=True)` lays them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

type Matrix = NDArray[np.float32]

#: Numbers of a row and output beside the features' values: the base value and the margin.
BESIDE = 2


def join_parts[T: np.floating](
    values: NDArray[T], base_values: NDArray[T], margins: NDArray[T]
) -> NDArray[T]:
    """Join values (…, features), base values and margins (…) into one array (…, features + 2)."""
    return np.concatenate([values, base_values[..., None], margins[..., None]], axis=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """SHAP values of some rows. `array` is float32 of shape (rows, outputs, features + 2)."""

    array: Matrix

    @classmethod
    def empty(cls, rows: int, outputs: int, features: int) -> Self:
        """Return one whose numbers an engine fills in."""
        return cls(np.empty(cls.shape_of(rows, outputs, features), dtype=np.float32))

    @staticmethod
    def shape_of(rows: int, outputs: int, features: int) -> tuple[int, int, int]:
        """Return the shape of the array for so many rows."""
        return rows, outputs, features + BESIDE

    @staticmethod
    def numbers_of(outputs: int, features: int) -> int:
        """Return how many float32 numbers one row takes."""
        return outputs * (features + BESIDE)

    @classmethod
    def concatenate(cls, parts: Sequence[Explanation]) -> Self:
        """Return the rows of all parts, one part after the other."""
        return cls(np.concatenate([part.array for part in parts]))

    @property
    def lines(self) -> Explanation:
        """The same numbers with a row for each row and output: (rows x outputs, 1, features + 2)."""
        return Explanation(self.array.reshape(-1, 1, self.array.shape[2]))

    @property
    def outputs(self) -> int:
        """The number of outputs."""
        return int(self.array.shape[1])

    @property
    def values(self) -> Matrix:
        """The features' SHAP values: (rows, outputs, features)."""
        return self.array[:, :, :-BESIDE]

    @property
    def base_values(self) -> Matrix:
        """The base values: (rows, outputs)."""
        return self.array[:, :, -2]

    @property
    def margins(self) -> Matrix:
        """The margins, which values and base value add up to: (rows, outputs)."""
        return self.array[:, :, -1]

    @property
    def contributions(self) -> Matrix:
        """Values with the base value last: (rows, outputs, features + 1), XGBoost's layout."""
        return self.array[:, :, :-1]

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: slice) -> Explanation:
        return Explanation(self.array[rows])
