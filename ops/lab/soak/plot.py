"""The plot of a soak as SVG: memory over time, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from ops.lab.memory import MB
from ops.lab.soak.trend import WHOLE, Samples, thin

#: The picture, and the field of the curves in it: left, top, right, bottom edge.
WIDTH, HEIGHT = 940, 460
LEFT, TOP, RIGHT, BOTTOM = 60.0, 30.0, 740.0, 410.0
#: Points of a curve, at most, and marks on an axis.
MOST_POINTS, MOST_MARKS = 450, 12
#: Steps that an axis may have: the first is taken that makes few enough marks.
MINUTE_STEPS, MB_STEPS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 240), (25, 50, 100, 200, 500, 1000)
#: The curves' colours, the whole first: each is readable on a light page and on a dark one.
COLOURS = ("#6e7781", "#2f81f7", "#2da44e", "#a371f7", "#db6d28", "#1b9aaa", "#db61a2", "#bb8009")


def plot(samples: Samples, marks: Mapping[str, float]) -> str:
    """Return the file's text; `marks` are limits in MB by what they mean."""
    whole = [WHOLE, *samples.names()[:-1]][: len(COLOURS)]
    top = max(*marks.values(), *(size / MB for run in samples.points.values() for _, size in run)) * 1.04
    minutes = max(samples.seconds, 1.0) / 60

    def x(at: float) -> str:
        return f"{LEFT + (RIGHT - LEFT) * at / minutes:.1f}"

    def y(mb: float) -> str:
        return f"{BOTTOM - (BOTTOM - TOP) * mb / top:.1f}"

    parts = [_head()]
    for mb in _steps(top, MB_STEPS):
        parts.append(f'<path class="g" d="M{LEFT} {y(mb)}H{RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(mb)}" dy="4" text-anchor="end">{mb:g}</text>')
    for at in _steps(minutes, MINUTE_STEPS):
        parts.append(f'<path class="g" d="M{x(at)} {BOTTOM}V{BOTTOM + 5}"/>')
        parts.append(f'<text x="{x(at)}" y="{BOTTOM + 20}" text-anchor="middle">{at:g}</text>')
    parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 40}" text-anchor="middle">minutes, MB</text>')
    for said, mb in marks.items():
        parts.append(f'<path class="m" d="M{LEFT} {y(mb)}H{RIGHT}"/>')
        parts.append(f'<text x="{RIGHT + 10}" y="{y(mb)}" dy="4">{mb:.0f}: {escape(said)}</text>')
    parts.append(f'<path class="w" d="M{x(samples.warm_up / 60)} {TOP}V{BOTTOM}"/>')
    for number, name in enumerate(whole):
        for run in samples.runs(name):
            line = "L".join(f"{x(at / 60)} {y(size / MB)}" for at, size in thin(run, MOST_POINTS))
            parts.append(f'<path class="c c{number}" d="M{line}"/>')
        legend = TOP + 110 + 22 * number
        parts.append(f'<path class="c c{number}" d="M{RIGHT + 10} {legend}h26"/>')
        parts.append(f'<text x="{RIGHT + 44}" y="{legend}" dy="4">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _steps(most: float, choice: Sequence[float]) -> list[float]:
    step = next((step for step in choice if most / step <= MOST_MARKS), choice[-1])
    return [step * number for number in range(int(most / step) + 1)]


def _head() -> str:
    curves = "".join(f".c{number}{{stroke:{colour}}}" for number, colour in enumerate(COLOURS))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">\n'
        "<title>Memory of the appliance and of each of its processes during a soak</title>\n"
        "<style>text{fill:#6e7781}path{fill:none}.g{stroke:#8b949e;stroke-opacity:.35}"
        ".m{stroke:#d1242f;stroke-dasharray:6 4}.w{stroke:#8b949e;stroke-dasharray:2 4}"
        f".c{{stroke-width:1.5;stroke-linejoin:round}}.c0{{stroke-width:2.4}}{curves}</style>"
    )
