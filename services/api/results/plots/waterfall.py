"""The waterfall plot: from the base value to a row's margin, as in shap.plots.waterfall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.api.results.plots.axes import Scale, draw_bottom_axis
from services.api.results.plots.colours import BLUE, RED
from services.api.results.plots.lines import LINE, LinesDrawing, Ranking
from services.api.results.plots.numbers import plain, signed, value_text
from services.api.results.plots.svg import Drawing, shortened, text_width
from shared.explanation import Matrix
from shared.models.contract import Feature

#: Pixels of half an arrow's thickness and of its head, and of the room above and below the lines.
_HALF, _HEAD, _ROOM = 12.0, 7.0, (66.0, 64.0)
#: Letters of a value that are shown: a category's label can be long.
_GIVEN_LETTERS = 14


@dataclass(frozen=True, slots=True)
class Step:
    """One line: a feature, its value (None for the rest), and its SHAP value from start to end."""

    label: str
    given: str | None
    value: float
    start: float
    end: float

    @property
    def text(self) -> str:
        """The value and the name."""
        return self.label if self.given is None else f"{self.given} = {self.label}"

    @property
    def before(self) -> str:
        """The text before the name: the value, cut if it is long."""
        return "" if self.given is None else f"{shortened(self.given, _GIVEN_LETTERS)} = "


@dataclass(frozen=True, slots=True)
class WaterfallFigures:
    """The steps from the top: the first is the last to be added."""

    base_value: float
    margin: float
    steps: Sequence[Step]

    @classmethod
    def of(
        cls, features: Matrix, values: Matrix, base_value: float, columns: Sequence[Feature], max_display: int
    ) -> WaterfallFigures:
        """Order one row's values by their size. `features` and `values` have shape (features,)."""
        ranking = Ranking.by(np.abs(values), max_display)
        labels = ranking.labels([column.name for column in columns], rest="{} other features")
        given = [value_text(columns[place], float(features[place])) for place in ranking.shown]
        margin = end = base_value + float(values.sum(dtype=np.float64))
        steps = []
        for label, own, value in zip(labels, [*given, None], ranking.gather(values).tolist(), strict=False):
            steps.append(Step(label, own, value, end - value, end))
            end -= value
        return cls(base_value, margin, steps)


def draw_waterfall(figures: WaterfallFigures, title: str) -> Drawing:
    """Draw the plot."""
    labels, befores = zip(*((step.label, step.before) for step in figures.steps), strict=True)
    drawing = LinesDrawing("SHAP values of one row", title, labels, befores, beside=40, room=_ROOM)
    ends = [end for step in figures.steps for end in (step.start, step.end)]
    scale = Scale.around(min(ends), max(ends), drawing.left, drawing.right, margin=0.12)
    for line, step in enumerate(figures.steps):
        x, y = scale(step.start), drawing.middle(line)
        drawing.line((drawing.left, y), (drawing.right, y), opacity=0.25, dash="1 5")
        below = y + LINE if line + 1 < len(figures.steps) else drawing.bottom
        drawing.line((x, y - _HALF), (x, below), opacity=0.45, dash="3 3")
        _draw_arrow(drawing, scale, step, y)
    draw_bottom_axis(drawing, scale, drawing.bottom, "")
    x = scale(figures.margin)
    drawing.line((x, drawing.top - 6), (x, drawing.middle(0)), opacity=0.45, dash="3 3")
    drawing.text((x, drawing.top - 11), f"f(x) = {plain(figures.margin)}", anchor="middle", size=12)
    base = f"E[f(X)] = {plain(figures.base_value)}"
    drawing.text((scale(figures.base_value), drawing.bottom + 44), base, anchor="middle", size=12)
    return drawing


def _draw_arrow(drawing: Drawing, scale: Scale, step: Step, y: float) -> None:
    start, end = scale(step.start), scale(step.end)
    colour, way = (RED, 1) if step.value >= 0 else (BLUE, -1)
    neck = end - way * min(_HEAD, abs(end - start))
    low, high, text = y - _HALF, y + _HALF, signed(step.value)
    corners = [(start, low), (neck, low), (end, y), (neck, high), (start, high)]
    drawing.area(corners, colour, tip=f"{step.text}: {text}")
    if text_width(text, 12) + 2 * _HEAD < abs(end - start):
        drawing.text(((start + neck) / 2, y + 4.5), text, anchor="middle", size=12, fill="#ffffff")
    else:
        anchor = "start" if way > 0 else "end"
        drawing.text((end + way * 6, y + 4.5), text, anchor=anchor, size=12, fill=colour)
