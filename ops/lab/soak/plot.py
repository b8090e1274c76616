"""The plot of a soak as SVG: memory over time, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from ops.lab.soak.growth import MB
from ops.lab.soak.history import LIMIT_MB, SOFT_LIMIT_MB, History
from ops.lab.soak.trend import Point, thin

#: The picture, and the field of the curves in it: left, top, right, bottom edge.
WIDTH, HEIGHT = 940, 460
LEFT, TOP, RIGHT, BOTTOM = 60.0, 30.0, 740.0, 410.0
#: Points of a curve, at most.
MOST_POINTS = 450
#: Steps that an axis may have: the first is taken that makes at most so many marks.
MINUTE_STEPS, MB_STEPS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 240), (25, 50, 100, 200, 500, 1000)
MOST_MARKS = 12
#: The curves' colours on a light page and on a dark one, the whole first.
COLOURS = (
    ("#1f2328", "#f0f6fc"),
    ("#0550ae", "#79c0ff"),
    ("#116329", "#56d364"),
    ("#8250df", "#d2a8ff"),
    ("#bc4c00", "#ffa657"),
    ("#0a7ea4", "#76e3ea"),
    ("#bf3989", "#ff9bce"),
    ("#7d6608", "#e3b341"),
)
#: Pixels between two lines of the legend.
LEGEND_STEP = 22


def plot(history: History) -> str:
    """Return the file's text."""
    curves = _curves(history)
    top = max(
        [history.facts[LIMIT_MB], *(value for _, parts in curves for part in parts for _, value in part)]
    )
    axes = _Axes(max(history.seconds, 1.0) / 60, top * 1.04)
    parts = [_head(), *axes.grid(), *_marks(history, axes)]
    for number, (name, lines) in enumerate(curves):
        parts += [f'<path class="c c{number}" d="{axes.path(line)}"/>' for line in lines if len(line) > 1]
        parts += _legend(name, number)
    return "\n".join([*parts, "</svg>", ""])


def _curves(history: History) -> list[tuple[str, list[list[Point]]]]:
    """Return each curve's name and its parts, in minutes and MB: a run of a process is a part."""
    named = [("working set", [history.working_set])]
    named += [(name, [run.points for run in history.runs[name]]) for name in sorted(history.runs)]
    return [(name, [_scaled(part) for part in parts]) for name, parts in named[: len(COLOURS)]]


def _scaled(points: Sequence[Point]) -> list[Point]:
    return [(seconds / 60, value / MB) for seconds, value in thin(points, MOST_POINTS)]


class _Axes:
    """From minutes and MB to pixels."""

    def __init__(self, minutes: float, mb: float) -> None:
        self._minutes = minutes
        self._mb = mb

    def x(self, minutes: float) -> float:
        return LEFT + (RIGHT - LEFT) * minutes / self._minutes

    def y(self, mb: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * mb / self._mb

    def path(self, points: Sequence[Point]) -> str:
        return "M" + "L".join(f"{self.x(minutes):.1f} {self.y(mb):.1f}" for minutes, mb in points)

    def grid(self) -> list[str]:
        lines = []
        for mb in _steps(self._mb, MB_STEPS):
            y = self.y(mb)
            lines.append(f'<path class="g" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
            lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{mb:g}</text>')
        for minutes in _steps(self._minutes, MINUTE_STEPS):
            x = self.x(minutes)
            lines.append(f'<path class="g" d="M{x:.1f} {BOTTOM}V{BOTTOM + 5}"/>')
            lines.append(f'<text x="{x:.1f}" y="{BOTTOM + 20}" text-anchor="middle">{minutes:g}</text>')
        lines.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 40}" text-anchor="middle">minutes</text>')
        lines.append(f'<text x="{LEFT - 8}" y="{TOP - 12}" text-anchor="end">MB</text>')
        return lines


def _steps(most: float, choice: Sequence[float]) -> list[float]:
    step = next((step for step in choice if most / step <= MOST_MARKS), choice[-1])
    return [step * number for number in range(int(most / step) + 1)]


def _marks(history: History, axes: _Axes) -> list[str]:
    """Return the limits, and where the warm-up ends."""
    parts = []
    for name, said in ((SOFT_LIMIT_MB, "a worker is recycled"), (LIMIT_MB, "the container's limit")):
        mb = history.facts[name]
        parts.append(f'<path class="m" d="M{LEFT} {axes.y(mb):.1f}H{RIGHT}"/>')
        parts.append(f'<text x="{RIGHT + 10}" y="{axes.y(mb) + 4:.1f}">{mb:.0f}: {escape(said)}</text>')
    x = axes.x(history.warm_up / 60)
    parts.append(f'<path class="w" d="M{x:.1f} {TOP}V{BOTTOM}"/>')
    parts.append(f'<text x="{x + 4:.1f}" y="{TOP - 4}">warm</text>')
    return parts


def _legend(name: str, number: int) -> list[str]:
    y = TOP + 110 + LEGEND_STEP * number
    return [
        f'<path class="c c{number}" d="M{RIGHT + 10} {y}H{RIGHT + 36}"/>',
        f'<text x="{RIGHT + 44}" y="{y + 4}">{escape(name)}</text>',
    ]


def _head() -> str:
    light = _colours([light for light, _ in COLOURS])
    dark = _colours([dark for _, dark in COLOURS])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">\n'
        "<title>Memory of the appliance and of each of its processes during a soak</title>\n"
        "<style>text{fill:#39424e}path{fill:none}.g{stroke:#8b949e;stroke-opacity:.35}"
        ".m{stroke:#cf222e;stroke-dasharray:6 4}.w{stroke:#8b949e;stroke-dasharray:2 4}"
        f".c{{stroke-width:1.5;stroke-linejoin:round}}.c0{{stroke-width:2.4}}{light}"
        f"@media(prefers-color-scheme:dark){{text{{fill:#c9d1d9}}.m{{stroke:#ff7b72}}{dark}}}</style>"
    )


def _colours(colours: Sequence[str]) -> str:
    return "".join(f".c{number}{{stroke:{colour}}}" for number, colour in enumerate(colours))
