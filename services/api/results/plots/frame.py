"""The room of a plot that has one line for each feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.api.results.plots.svg import Drawing, text_width

#: Pixels of a plot's width, of a line's height, and of what is below all lines.
WIDTH, LINE, BELOW = 800.0, 34.0, 56.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A drawing, and within it the box that the marks are in. Names stand to the left of the box."""

    drawing: Drawing
    left: float
    right: float
    top: float
    bottom: float

    @classmethod
    def for_lines(
        cls,
        labels: Sequence[str],
        description: str,
        title: str,
        *,
        beside: float = 24.0,
        above: float = 44.0,
        below: float = BELOW,
    ) -> Frame:
        """Make room for lines with these labels as they are drawn, and `beside` pixels on the right. The title goes above."""
        left = min(max(text_width(label) for label in labels) + 24.0, WIDTH / 2)
        bottom = above + len(labels) * LINE
        drawing = Drawing(WIDTH, bottom + below, description)
        drawing.text((16, 24), title, size=12, opacity=0.75)
        return cls(drawing, max(left, 90.0), WIDTH - beside, above, bottom)

    def middle(self, line: int) -> float:
        """Return the height of a line's middle, lines counted from the top."""
        return self.top + (line + 0.5) * LINE
