"""The bar beside a plot that says what its colours mean."""

from __future__ import annotations

from services.api.results.plots.colours import ramp
from services.api.results.plots.svg import Drawing

#: Pixels of the bar's width, and between it and what is written beside it.
_WIDTH, _GAP = 8.0, 6.0


def draw_colour_bar(
    drawing: Drawing, x: float, top: float, bottom: float, label: str, ends: tuple[str, str]
) -> None:
    """Draw the bar, low values at the bottom. `ends` are written at its bottom and at its top."""
    colours = ramp()
    height = (bottom - top) / len(colours)
    for place, colour in enumerate(colours):
        low = bottom - place * height
        high = low - height - (0.5 if place < len(colours) - 1 else 0.0)  # no paper shines through
        drawing.area([(x, low), (x + _WIDTH, low), (x + _WIDTH, high), (x, high)], colour)
    drawing.text((x + _WIDTH + _GAP, bottom), ends[0], size=11.5)
    drawing.text((x + _WIDTH + _GAP, top + 10), ends[1], size=11.5)
    drawing.name((x + _WIDTH + _GAP + 12, (top + bottom) / 2), label, anchor="middle", turned=True)
