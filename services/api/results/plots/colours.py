"""The colours of shap's plots: blue for low values, red for high values.

The shade of a value is its place between the 5th and the 95th percentile, as in shap.plots.
"""

from __future__ import annotations

import numpy as np

from services.api.results.plots.numbers import Floats, Whole
from services.api.results.plots.svg import LONGEST, Drawing

RED, BLUE, GREY = "#ff0051", "#008bfb", "#777777"
#: From blue to red in even steps of CIE LCh; darkest in the middle, so that values in between can be distinguished.
_HEX = (
    "008bfb 0086f9 0082f8 007df5 0078f3 0073ef 1b6deb 3c68e7 4f62e2 5f5bdc 6c55d6 774ed0 8146c9 893ec2 9135ba 982ab1 "
    "a120ab ab17a7 b508a3 bf009e c70099 cf0093 d7008d de0087 e50081 eb007b f00074 f5006d f90066 fd005f ff0058 ff0051"
)
RAMP = tuple(f"#{colour}" for colour in _HEX.split())
STEPS = len(RAMP)
#: The shade of a missing value.
MISSING = STEPS
#: Percentiles of the first and the last shade; the next pair if those are equal.
_TRIMS = ((5.0, 95.0), (1.0, 99.0), (0.0, 100.0))
#: Dots are drawn by colour this many times: once would put all red dots above all blue ones.
_PASSES = 4
#: Pixels of the colour bar's width, and between it and its texts.
_WIDTH, _GAP = 8.0, 6.0


def shade_bounds(values: Floats) -> tuple[float, float]:
    """Return the values of the first and the last shade; NaN twice if all values are missing."""
    if np.isnan(values).all():
        return np.nan, np.nan
    for trim in _TRIMS:
        least, most = np.nanpercentile(values, trim)
        if least < most:
            break
    return float(least), float(max(least, most))


def shades(values: Floats) -> Whole:
    """Return the place of each value's colour in RAMP, or MISSING for NaN."""
    least, most = shade_bounds(values)
    shares = (values - least) / (most - least) if least < most else np.full(values.shape, 0.5)
    places = np.rint(np.nan_to_num(np.clip(shares, 0.0, 1.0)) * (STEPS - 1))
    return np.where(np.isnan(values), MISSING, places).astype(np.int64)


def draw_shaded(drawing: Drawing, x: Floats, y: Floats, shade: Whole, radius: float) -> None:
    """Draw dots at pixels, in an order that is independent of their colours."""
    colours = (*RAMP, GREY)
    shuffled = np.random.default_rng(len(x)).permutation(len(x))
    for some in np.array_split(shuffled, _PASSES):
        for colour in np.unique(shade[some]):
            places = some[shade[some] == colour]
            dots = zip(x[places].tolist(), y[places].tolist(), strict=True)
            drawing.dots(dots, colours[colour], radius)


def draw_colour_bar(
    drawing: Drawing, x: float, top: float, bottom: float, label: str, ends: tuple[str, str]
) -> None:
    """Draw the colours, low values at the bottom; `ends` are the texts of bottom and top."""
    height = (bottom - top) / STEPS
    for place, colour in enumerate(RAMP):
        low = bottom - place * height
        high = low - height - (0.5 if place < STEPS - 1 else 0.0)  # an overlap hides the paper
        drawing.box((x, low), (x + _WIDTH, high), colour)
    x += _WIDTH + _GAP
    drawing.text((x, bottom), ends[0], size=11.5)
    drawing.text((x, top + 10), ends[1], size=11.5)
    drawing.text((x + 12, (top + bottom) / 2), label, anchor="middle", turned=True, longest=LONGEST)
