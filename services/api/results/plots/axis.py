"""A scale from numbers to pixels, and the ticks on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from services.api.results.plots.numbers import told_apart
from services.api.results.plots.svg import LETTER, Drawing, shortened

#: The distances between ticks, times a power of ten.
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
#: Pixels between two ticks, at least about.
_TICK_PIXELS = 90.0
#: The size of what stands at ticks, and the letters that a name there has room for at least.
_TICK_SIZE, _LEAST_LETTERS = 11.5, 6


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps numbers from `least` to `most` onto pixels from `start` to `end`."""

    least: float
    most: float
    start: float
    end: float

    @classmethod
    def around(cls, least: float, most: float, start: float, end: float, margin: float = 0.05) -> Scale:
        """Make a scale with some room on both sides; of one number only, it stands in the middle."""
        span = most - least
        room = span * margin if span > 0 else max(abs(most), 1.0) * 0.5
        return cls(least - room, most + room, start, end)

    def __call__(self, number: float) -> float:
        """Return the pixel of a number."""
        share = (number - self.least) / (self.most - self.least)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return round numbers on the scale, about as many as have room."""
        step = self._step()
        first, last = math.ceil(self.least / step), math.floor(self.most / step)
        return [place * step for place in range(first, last + 1)]

    def label(self, tick: float) -> str:
        """Return a tick's number, which no other tick has."""
        return told_apart(tick, self._step())

    def _step(self) -> float:
        wanted = max(2.0, abs(self.end - self.start) / _TICK_PIXELS)
        rough = (self.most - self.least) / wanted
        power = 10.0 ** math.floor(math.log10(rough))
        return next(times * power for times in _STEPS if times * power >= rough)


def draw_bottom_axis(drawing: Drawing, scale: Scale, y: float, label: str) -> None:
    """Draw a horizontal axis at `y`, with its numbers and label below."""
    drawing.line((scale.start, y), (scale.end, y), opacity=0.55)
    for tick in scale.ticks():
        drawing.line((scale(tick), y), (scale(tick), y + 4), opacity=0.55)
        drawing.text((scale(tick), y + 19), scale.label(tick), anchor="middle", size=11.5, opacity=0.75)
    drawing.text(((scale.start + scale.end) / 2, y + 41), label, anchor="middle")


def draw_bottom_names(
    drawing: Drawing, scale: Scale, y: float, label: str, names: Mapping[float, str]
) -> None:
    """Draw a horizontal axis at `y` with names at some places; of very many, those that have room."""
    drawing.line((scale.start, y), (scale.end, y), opacity=0.55)
    pixels = (scale.end - scale.start) / (scale.most - scale.least)  # from one whole number to the next
    letter = LETTER * _TICK_SIZE
    every = max(1, math.ceil(_LEAST_LETTERS * letter / pixels))
    letters = int(every * pixels / letter) - 1
    last = -math.inf
    for place, name in sorted(names.items()):
        drawing.line((scale(place), y), (scale(place), y + 4), opacity=0.55)
        if place - last < every:
            continue
        short = shortened(name, letters)
        tip = name if short != name else ""
        drawing.text((scale(place), y + 19), short, anchor="middle", size=_TICK_SIZE, opacity=0.75, tip=tip)
        last = place
    drawing.text(((scale.start + scale.end) / 2, y + 41), label, anchor="middle")


def draw_left_axis(drawing: Drawing, scale: Scale, x: float, label: str) -> None:
    """Draw a vertical axis at `x`, with its numbers and label on the left."""
    drawing.line((x, scale.start), (x, scale.end), opacity=0.55)
    for tick in scale.ticks():
        drawing.line((x - 4, scale(tick)), (x, scale(tick)), opacity=0.55)
        drawing.text((x - 8, scale(tick) + 4), scale.label(tick), anchor="end", size=11.5, opacity=0.75)
    drawing.text((x - 58, (scale.start + scale.end) / 2), label, anchor="middle", turned=True)
