"""The lines of plots with one line for each feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.api.results.plots.numbers import Floats
from services.api.results.plots.svg import LONGEST, Drawing, shortened, text_width

#: Pixels of a plot's width, of a line's height, and of the room above and below all lines.
WIDTH, LINE, ROOM = 800.0, 34.0, (44.0, 56.0)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Places of the features with their own line, largest first, and of those sharing the last."""

    shown: list[int]
    rest: list[int]

    @classmethod
    def by(cls, sizes: NDArray[np.floating], max_display: int) -> Ranking:
        """Rank by size. As in shap.plots, the rest takes one of the `max_display` lines."""
        order = np.argsort(-sizes, kind="stable").tolist()
        own = len(order) if len(order) <= max_display else max_display - 1
        return cls(order[:own], order[own:])

    def labels(self, names: Sequence[str], rest: str = "Sum of {} other features") -> list[str]:
        """Return the label of each line."""
        return [names[place] for place in self.shown] + ([rest.format(len(self.rest))] if self.rest else [])

    def gather(self, values: NDArray[np.floating]) -> Floats:
        """Return the lines' values of (…, features): those shown, and the sum of the rest."""
        exact = values.astype(np.float64)
        sums = [exact[..., self.rest].sum(axis=-1, keepdims=True)] if self.rest else []
        return np.concatenate([exact[..., self.shown], *sums], axis=-1)


class LinesDrawing(Drawing):
    """A drawing of lines: their labels, and to the right of them a box for the marks."""

    def __init__(
        self,
        description: str,
        title: str,
        labels: Sequence[str],
        befores: Sequence[str] | None = None,
        beside: float = 24.0,
        room: tuple[float, float] = ROOM,
    ) -> None:
        """Write the labels, each after its text in `befores`; leave `beside` pixels at the right."""
        befores = befores or [""] * len(labels)
        widths = [
            text_width(before + shortened(label)) for before, label in zip(befores, labels, strict=True)
        ]
        self.left, self.right = max(90.0, min(max(widths) + 24.0, WIDTH / 2)), WIDTH - beside
        self.top, self.bottom = room[0], room[0] + len(labels) * LINE
        super().__init__(WIDTH, self.bottom + room[1], description, title)
        for line, (before, label) in enumerate(zip(befores, labels, strict=True)):
            place = (self.left - 10, self.middle(line) + 4.5)
            self.text(place, label, anchor="end", before=before, longest=LONGEST)

    def middle(self, line: int) -> float:
        """Return the y of the middle of a line, counted from the top."""
        return self.top + (line + 0.5) * LINE
