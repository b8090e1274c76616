"""The interactions of features that a job computes beside its values, and their size."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: The largest `top_pairs`.
MOST_TOP_PAIRS = 100
#: Numbers per stored pair: two features and the value.
PAIR_NUMBERS = 3
#: The stored text for whole matrices.
_ALL = "all"


@dataclass(frozen=True, slots=True)
class Interactions:
    """Whole matrices, or the `top_pairs` largest pairs of each row and output."""

    top_pairs: int | None = None

    def shape(self, rows: int, features: int, outputs: int) -> tuple[int, ...]:
        """Return the shape of so many rows' interactions, stored as float32.

        Matrices are laid out as by `Booster.predict(pred_interactions=True)`, with the base value in the corner:
        (rows, outputs, features + 1, features + 1). Pairs are (rows, outputs, top_pairs, 3): two features, the lower one
        first, and the value; the largest first, and zeros if a row has fewer.
        """
        if self.top_pairs is None:
            return (rows, outputs, features + 1, features + 1)
        return (rows, outputs, self.top_pairs, PAIR_NUMBERS)

    def numbers(self, features: int, outputs: int) -> int:
        """Return how many float32 numbers one row's interactions have."""
        return math.prod(self.shape(1, features, outputs))

    def text(self) -> str:
        """Return it as one word."""
        return _ALL if self.top_pairs is None else str(self.top_pairs)

    @classmethod
    def of_text(cls, text: str) -> Interactions:
        """Read a word that `text` returned."""
        return cls() if text == _ALL else cls(int(text))
