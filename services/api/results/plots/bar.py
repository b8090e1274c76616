"""The bar plot: mean |SHAP value| of each feature over all rows, as in shap.plots.bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.api.results.plots.axes import Scale, draw_bottom_axis
from services.api.results.plots.colours import RED
from services.api.results.plots.lines import Frame, Ranking
from services.api.results.plots.numbers import Floats, plain, signed
from services.api.results.plots.svg import Drawing, shortened

#: Pixels of half a bar's height.
_HALF = 11


@dataclass(frozen=True, slots=True)
class BarFigures:
    """The labels and bar lengths of the lines, from the top."""

    labels: Sequence[str]
    mean_abs: Floats

    @classmethod
    def of(cls, mean_abs: Floats, names: Sequence[str], max_display: int) -> BarFigures:
        """Choose the lines; `mean_abs` has shape (features,)."""
        ranking = Ranking.by(mean_abs, max_display)
        return cls(ranking.labels(names), ranking.gather(mean_abs))


def draw_bar(figures: BarFigures, title: str) -> Drawing:
    """Draw the plot."""
    labels = [shortened(label) for label in figures.labels]
    frame = Frame.for_lines(labels, "Mean absolute SHAP values", title)
    drawing = frame.drawing
    scale = Scale(0.0, (float(figures.mean_abs.max()) or 1.0) * 1.12, frame.left, frame.right)
    for line, (label, value) in enumerate(zip(figures.labels, figures.mean_abs.tolist(), strict=True)):
        x, y = scale(value), frame.middle(line)
        drawing.box((frame.left, y - _HALF), (x, y + _HALF), RED, tip=f"{label}: {plain(value)}")
        frame.write_label(line, label)
        drawing.text((x + 6, y + 4.5), signed(value), size=12, fill=RED)
    drawing.line((frame.left, frame.top), (frame.left, frame.bottom), opacity=0.55)
    draw_bottom_axis(drawing, scale, frame.bottom, "mean(|SHAP value|)")
    return drawing
