"""The bar plot: mean |SHAP value| of each feature, over all rows. The numbers are those of shap.plots.bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.api.results.plots.axis import Scale, draw_bottom_axis
from services.api.results.plots.colours import RED
from services.api.results.plots.frame import Frame
from services.api.results.plots.numbers import plain, signed
from services.api.results.plots.ranking import Ranking
from services.api.results.plots.svg import Drawing, shortened

#: Pixels of a bar's height.
_THICK = 22


@dataclass(frozen=True, slots=True)
class BarFigures:
    """What is shown, line by line from the top."""

    labels: Sequence[str]
    mean_abs: NDArray[np.float64]

    @classmethod
    def of(cls, mean_abs: NDArray[np.float64], names: Sequence[str], max_display: int) -> BarFigures:
        """Choose what is shown; `mean_abs` has shape (features,)."""
        ranking = Ranking.by(mean_abs, max_display)
        return cls(ranking.labels(names), ranking.gather(mean_abs))


def draw_bar(figures: BarFigures, title: str) -> Drawing:
    """Draw the plot."""
    frame = Frame.for_lines(
        [shortened(label) for label in figures.labels], f"Mean absolute SHAP values, {title}", title
    )
    drawing, most = frame.drawing, float(figures.mean_abs.max())
    scale = Scale(0.0, (most or 1.0) * 1.12, frame.left, frame.right)
    for place, (label, value) in enumerate(zip(figures.labels, figures.mean_abs.tolist(), strict=True)):
        y = frame.middle(place)
        x = scale(value)
        corners = [
            (frame.left, y - _THICK / 2),
            (x, y - _THICK / 2),
            (x, y + _THICK / 2),
            (frame.left, y + _THICK / 2),
        ]
        drawing.area(corners, RED, tip=f"{label}: {plain(value)}")
        drawing.name((frame.left - 10, y + 4.5), label)
        drawing.text((x + 6, y + 4.5), signed(value), size=12, fill=RED)
    drawing.line((frame.left, frame.top), (frame.left, frame.bottom), opacity=0.55)
    draw_bottom_axis(drawing, scale, frame.bottom, "mean(|SHAP value|)")
    return drawing
