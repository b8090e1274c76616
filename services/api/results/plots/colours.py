"""The colours of shap's plots: blue where a value is low or pulls down, red where it is high or pushes up."""

from __future__ import annotations

import functools
import math

RED, BLUE, GREY = "#ff0051", "#008bfb", "#777777"
#: How many colours the ramp from blue to red has.
STEPS = 32
#: Both ends and the middle of the ramp in CIE LCh (D65): lightness, chroma, hue in radians. It is darkest in the middle,
#: so that eyes see what is between.
_BLUE, _RED, _MIDDLE_LIGHTNESS = (54.0, 70.0, 4.6588), (54.0, 90.0, 0.3547 + 2 * math.pi), 40.0
#: The white point D65, and XYZ to linear sRGB (IEC 61966-2-1).
_WHITE = (0.95047, 1.0, 1.08883)
_TO_RGB = (
    (3.2404542, -1.5371385, -0.4985314),
    (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)


@functools.cache
def ramp() -> tuple[str, ...]:
    """Return STEPS colours from blue to red."""
    return tuple(_colour(place / (STEPS - 1)) for place in range(STEPS))


def _colour(share: float) -> str:
    middle = 1 - abs(2 * share - 1)
    lightness = _BLUE[0] + middle * (_MIDDLE_LIGHTNESS - _BLUE[0])
    chroma, hue = (start + share * (end - start) for start, end in zip(_BLUE[1:], _RED[1:], strict=True))
    red, green, blue = _rgb(lightness, chroma * math.cos(hue), chroma * math.sin(hue))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _rgb(lightness: float, a: float, b: float) -> tuple[int, ...]:
    """Convert CIE L*a*b* to sRGB, 0 to 255, clipped to what a screen can show."""
    level = (lightness + 16) / 116
    steps = (level + a / 500, level, level - b / 200)
    xyz = [
        white * (step**3 if step > 6 / 29 else 3 * (6 / 29) ** 2 * (step - 4 / 29))
        for white, step in zip(_WHITE, steps, strict=True)
    ]
    return tuple(_encode(sum(k * x for k, x in zip(row, xyz, strict=True))) for row in _TO_RGB)


def _encode(linear: float) -> int:
    value = min(max(linear, 0.0), 1.0)
    return round(255 * (12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055))
