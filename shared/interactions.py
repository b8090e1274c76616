"""Which interactions of pairs of features a job has beside its values, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass

#: Pairs of a row that may be asked for instead of the whole matrix, at most.
MOST_TOP_PAIRS = 100
#: Numbers that a pair is stored as: its two features and its value.
PAIR_NUMBERS = 3
#: How a job without `top_pairs` is kept.
_ALL = "all"


@dataclass(frozen=True, slots=True)
class Interactions:
    """Whole matrices, or the `top_pairs` largest pairs of each row and output."""

    top_pairs: int | None = None

    def shape(self, rows: int, features: int, outputs: int) -> tuple[int, ...]:
        """Return the shape in which so many rows' interactions are stored, as float32.

        Matrices are as `Booster.predict(pred_interactions=True)` gives them, with the base value in the corner:
        (rows, outputs, features + 1, features + 1). Pairs: (rows, outputs, top_pairs, 3), a pair's two features, the
        lower one first, and its value; the largest first, and zeros where a row has fewer.
        """
        if self.top_pairs is None:
            return (rows, outputs, features + 1, features + 1)
        return (rows, outputs, self.top_pairs, PAIR_NUMBERS)

    def numbers(self, features: int, outputs: int) -> int:
        """Return how many float32 one row's interactions have."""
        if self.top_pairs is None:
            return outputs * (features + 1) ** 2
        return outputs * self.top_pairs * PAIR_NUMBERS

    def text(self) -> str:
        """Return it as one word."""
        return _ALL if self.top_pairs is None else str(self.top_pairs)

    @classmethod
    def of_text(cls, text: str) -> Interactions | None:
        """Read what `text` gave; an empty text is none."""
        if not text:
            return None
        return cls() if text == _ALL else cls(int(text))
