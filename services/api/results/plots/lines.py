"""The lines of plots with one line for each feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.api.results.plots.numbers import Floats
from services.api.results.plots.svg import LONGEST, Drawing, text_width

#: Pixels of a plot's width, of a line's height, and of the room above and below all lines.
WIDTH, LINE, ROOM = 800.0, 34.0, (44.0, 56.0)

type Room = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Places of the features with their own line, largest first, and of those sharing the last."""

    shown: tuple[int, ...]
    rest: tuple[int, ...]

    @classmethod
    def by(cls, sizes: NDArray[np.floating], max_display: int) -> Ranking:
        """Rank by size. As in shap.plots, the rest takes one of the `max_display` lines."""
        order = np.argsort(-sizes, kind="stable").tolist()
        own = len(order) if len(order) <= max_display else max_display - 1
        return cls(tuple(order[:own]), tuple(order[own:]))

    def labels(self, names: Sequence[str], rest: str = "Sum of {} other features") -> list[str]:
        """Return the label of each line."""
        return [names[place] for place in self.shown] + ([rest.format(len(self.rest))] if self.rest else [])

    def gather(self, values: NDArray[np.floating]) -> Floats:
        """Return the lines' values of (…, features): those shown, and the sum of the rest."""
        own = values[..., list(self.shown)].astype(np.float64)
        if not self.rest:
            return own
        rest = values[..., list(self.rest)].astype(np.float64).sum(axis=-1, keepdims=True)
        return np.concatenate([own, rest], axis=-1)


@dataclass(frozen=True, slots=True)
class Frame:
    """A drawing, and the box in it for the marks. Labels are to the left of the box."""

    drawing: Drawing
    left: float
    right: float
    top: float
    bottom: float

    @classmethod
    def for_lines(
        cls, labels: Sequence[str], description: str, title: str, beside: float = 24.0, room: Room = ROOM
    ) -> Frame:
        """Make room for lines with these labels, and `beside` pixels to the right of them."""
        left = min(max(text_width(label) for label in labels) + 24.0, WIDTH / 2)
        bottom = room[0] + len(labels) * LINE
        drawing = Drawing(WIDTH, bottom + room[1], f"{description}, {title}")
        drawing.text((16, 24), title, size=12, opacity=0.75)
        return cls(drawing, max(left, 90.0), WIDTH - beside, room[0], bottom)

    def middle(self, line: int) -> float:
        """Return the y of the middle of a line, counted from the top."""
        return self.top + (line + 0.5) * LINE

    def write_label(self, line: int, label: str, before: str = "") -> None:
        """Write the label of a line; `before` precedes it in a paler colour."""
        place = (self.left - 10, self.middle(line) + 4.5)
        self.drawing.text(place, label, anchor="end", before=before, longest=LONGEST)
