"""Which features a plot shows, the largest first, and which go into its last line together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ranking:
    """Places of features: those with a line of their own, by weight, and the rest that share the last line."""

    shown: tuple[int, ...]
    rest: tuple[int, ...]

    @classmethod
    def by(cls, weights: NDArray[np.floating], max_display: int) -> Ranking:
        """Rank by weight, largest first. As in shap.plots the rest takes one of the `max_display` lines."""
        order = [int(place) for place in np.argsort(-weights, kind="stable")]
        if len(order) <= max_display:
            return cls(tuple(order), ())
        return cls(tuple(order[: max_display - 1]), tuple(order[max_display - 1 :]))

    @property
    def lines(self) -> int:
        """How many lines the plot has."""
        return len(self.shown) + bool(self.rest)

    def labels(self, names: Sequence[str], rest: str = "Sum of {} other features") -> list[str]:
        """Return what stands before each line."""
        return [names[place] for place in self.shown] + ([rest.format(len(self.rest))] if self.rest else [])

    def gather(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the lines' values of (…, features): those shown, and the sum of the rest."""
        own = values[..., list(self.shown)].astype(np.float64)
        if not self.rest:
            return own
        rest = values[..., list(self.rest)].astype(np.float64).sum(axis=-1, keepdims=True)
        return np.concatenate([own, rest], axis=-1)
