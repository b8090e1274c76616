"""Scales from numbers to pixels, and axes with ticks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from services.api.results.plots.numbers import Floats, told_apart
from services.api.results.plots.svg import LETTER, LONGEST, Drawing

#: The distances between ticks, times a power of ten.
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
#: Pixels between two ticks (approximately), the font size there, and the fewest letters of a name there.
_TICK_PIXELS, _TICK_SIZE, _LEAST_LETTERS = 90.0, 11.5, 6


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps numbers from `least` to `most` onto pixels from `start` to `end`."""

    least: float
    most: float
    start: float
    end: float

    @classmethod
    def around(cls, least: float, most: float, start: float, end: float, margin: float = 0.05) -> Scale:
        """Return a scale with a margin on both sides. A single number is in its middle."""
        span = most - least
        room = span * margin if span > 0 else max(abs(most), 1.0) * 0.5
        return cls(least - room, most + room, start, end)

    def __call__[Number: (float, Floats)](self, number: Number) -> Number:
        """Return the pixel of each number."""
        return self.start + (number - self.least) / (self.most - self.least) * (self.end - self.start)

    def ticks(self) -> dict[float, str]:
        """Return round numbers on the scale, as many as have room, and the text of each."""
        wanted = max(2.0, abs(self.end - self.start) / _TICK_PIXELS)
        rough = (self.most - self.least) / wanted
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(times * power for times in _STEPS if times * power >= rough)
        first, last = math.ceil(self.least / step), math.floor(self.most / step)
        return {place * step: told_apart(place * step, step) for place in range(first, last + 1)}


def draw_bottom_axis(
    drawing: Drawing, scale: Scale, y: float, label: str, names: Mapping[float, str] | None = None
) -> None:
    """Draw a horizontal axis at `y` with numbers, or names at whole numbers, and a label below."""
    drawing.line((scale.start, y), (scale.end, y), opacity=0.55)
    texts, distance, longest = scale.ticks(), 0, LONGEST
    if names is not None:
        letters = (scale.end - scale.start) / (scale.most - scale.least) / (LETTER * _TICK_SIZE)
        distance = max(1, math.ceil(_LEAST_LETTERS / letters))  # of names that have room
        texts, longest = dict(sorted(names.items())), int(distance * letters) - 1
    last = -math.inf
    for place, text in texts.items():
        x = scale(place)
        drawing.line((x, y), (x, y + 4), opacity=0.55)
        if place - last >= distance:
            last = place
            drawing.text((x, y + 19), text, anchor="middle", size=_TICK_SIZE, opacity=0.75, longest=longest)
    drawing.text(((scale.start + scale.end) / 2, y + 41), label, anchor="middle")


def draw_left_axis(drawing: Drawing, scale: Scale, x: float, label: str) -> None:
    """Draw a vertical axis at `x`, with its numbers and label on the left."""
    drawing.line((x, scale.start), (x, scale.end), opacity=0.55)
    for tick, text in scale.ticks().items():
        y = scale(tick)
        drawing.line((x - 4, y), (x, y), opacity=0.55)
        drawing.text((x - 8, y + 4), text, anchor="end", size=_TICK_SIZE, opacity=0.75)
    drawing.text((x - 58, (scale.start + scale.end) / 2), label, anchor="middle", turned=True)
