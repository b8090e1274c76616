"""The waterfall plot: how one row's SHAP values lead from the base value to the margin, as shap.plots.waterfall does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.api.results.plots.axis import Scale, draw_bottom_axis
from services.api.results.plots.colours import BLUE, RED
from services.api.results.plots.feature_values import value_text
from services.api.results.plots.frame import LINE, Frame
from services.api.results.plots.numbers import plain, signed
from services.api.results.plots.ranking import Ranking
from services.api.results.plots.svg import Drawing, shortened, text_width
from shared.models.contract import Feature

#: Pixels of an arrow's thickness and of its head, and of what stands above and below.
_THICK, _HEAD, _ABOVE, _BELOW = 24.0, 7.0, 66.0, 64.0
#: Letters of a value that are shown: a category's label can be long.
_GIVEN_LETTERS = 14


@dataclass(frozen=True, slots=True)
class Step:
    """One line: what it is called, its value as text (None for the rest), its SHAP value, and where that begins and ends."""

    label: str
    given: str | None
    value: float
    start: float
    end: float

    @property
    def text(self) -> str:
        """What stands before the line."""
        return self.label if self.given is None else f"{self.given} = {self.label}"

    @property
    def before(self) -> str:
        """What stands before the name: the value, cut if it is a long label."""
        return "" if self.given is None else f"{shortened(self.given, _GIVEN_LETTERS)} = "


@dataclass(frozen=True, slots=True)
class WaterfallFigures:
    """What is shown; the steps are those from the top, which is the last to be added."""

    base_value: float
    margin: float
    steps: Sequence[Step]

    @classmethod
    def of(
        cls,
        features: NDArray[np.float32],
        values: NDArray[np.float32],
        base_value: float,
        columns: Sequence[Feature],
        max_display: int,
    ) -> WaterfallFigures:
        """Order one row's values, (features,), by their size."""
        ranking = Ranking.by(np.abs(values), max_display)
        labels = ranking.labels([column.name for column in columns], rest="{} other features")
        given: list[str | None] = [
            value_text(columns[place], float(features[place])) for place in ranking.shown
        ]
        if ranking.rest:
            given.append(None)
        margin = end = base_value + float(values.sum(dtype=np.float64))
        steps = []
        for label, own, value in zip(labels, given, ranking.gather(values).tolist(), strict=True):
            steps.append(Step(label, own, value, end - value, end))
            end -= value
        return cls(base_value, margin, steps)


def draw_waterfall(figures: WaterfallFigures, title: str) -> Drawing:
    """Draw the plot."""
    texts = [step.before + shortened(step.label) for step in figures.steps]
    frame = Frame.for_lines(
        texts, f"SHAP values of one row, {title}", title, beside=40, above=_ABOVE, below=_BELOW
    )
    ends = [end for step in figures.steps for end in (step.start, step.end)]
    scale = Scale.around(min(ends), max(ends), frame.left, frame.right, margin=0.12)
    drawing = frame.drawing
    for line, step in enumerate(figures.steps):
        y = frame.middle(line)
        drawing.line((frame.left, y), (frame.right, y), opacity=0.25, dash="1 5")
        _write_label(drawing, (frame.left - 10, y + 4.5), step)
        below = y + LINE if line + 1 < len(figures.steps) else frame.bottom
        drawing.line(
            (scale(step.start), y - _THICK / 2), (scale(step.start), below), opacity=0.45, dash="3 3"
        )
        _draw_arrow(drawing, scale, step, y)
    draw_bottom_axis(drawing, scale, frame.bottom, "")
    x = scale(figures.margin)
    drawing.line((x, frame.top - 6), (x, frame.middle(0)), opacity=0.45, dash="3 3")
    drawing.text((x, frame.top - 11), f"f(x) = {plain(figures.margin)}", anchor="middle", size=12)
    base = f"E[f(X)] = {plain(figures.base_value)}"
    drawing.text((scale(figures.base_value), frame.bottom + 44), base, anchor="middle", size=12)
    return drawing


def _write_label(drawing: Drawing, place: tuple[float, float], step: Step) -> None:
    drawing.name(place, step.label, before=step.before)


def _draw_arrow(drawing: Drawing, scale: Scale, step: Step, y: float) -> None:
    start, end = scale(step.start), scale(step.end)
    colour, way = (RED, 1) if step.value >= 0 else (BLUE, -1)
    neck = end - way * min(_HEAD, abs(end - start))
    half = _THICK / 2
    corners = [(start, y - half), (neck, y - half), (end, y), (neck, y + half), (start, y + half)]
    drawing.area(corners, colour, tip=f"{step.text}: {signed(step.value)}")
    text = signed(step.value)
    if text_width(text, 12) + 2 * _HEAD < abs(end - start):
        drawing.text(((start + neck) / 2, y + 4.5), text, anchor="middle", size=12, fill="#ffffff")
    else:
        drawing.text(
            (end + way * 6, y + 4.5), text, anchor="start" if way > 0 else "end", size=12, fill=colour
        )
