"""The bar plot: mean |SHAP value| of each feature over all rows, as in shap.plots.bar."""

from __future__ import annotations

from services.api.results.plots.axes import Scale, draw_bottom_axis
from services.api.results.plots.colours import RED
from services.api.results.plots.lines import LinesDrawing
from services.api.results.plots.numbers import Floats, plain, signed
from services.api.results.plots.svg import Drawing

#: Pixels of half a bar's height.
_HALF = 11


def draw_bar(labels: list[str], mean_abs: Floats, title: str) -> Drawing:
    """Draw the lines of a ranking: a bar for each."""
    drawing = LinesDrawing("Mean absolute SHAP values", title, labels)
    scale = Scale(0.0, (float(mean_abs.max()) or 1.0) * 1.12, drawing.left, drawing.right)
    for line, (label, value) in enumerate(zip(labels, mean_abs.tolist(), strict=True)):
        x, y = scale(value), drawing.middle(line)
        drawing.box((drawing.left, y - _HALF), (x, y + _HALF), RED, tip=f"{label}: {plain(value)}")
        drawing.text((x + 6, y + 4.5), signed(value), size=12, fill=RED)
    drawing.line((drawing.left, drawing.top), (drawing.left, drawing.bottom), opacity=0.55)
    draw_bottom_axis(drawing, scale, drawing.bottom, "mean(|SHAP value|)")
    return drawing
