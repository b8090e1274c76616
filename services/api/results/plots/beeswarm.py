"""The beeswarm plot: one dot for each row and feature. The numbers are those of shap.plots.beeswarm.

Features are ranked by all rows; the dots are the sample's (shared/summary/sample.py), all rows of a small job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.api.results.plots.axis import Scale, draw_bottom_axis
from services.api.results.plots.colour_bar import draw_colour_bar
from services.api.results.plots.frame import LINE, Frame
from services.api.results.plots.ranking import Ranking
from services.api.results.plots.shades import MISSING, draw_shaded, shades
from services.api.results.plots.svg import Drawing, shortened
from services.api.results.plots.swarm import swarm_offsets

#: Pixels of a dot's radius, and of the room for the colour bar.
_RADIUS, _BESIDE = 2.4, 96.0


@dataclass(frozen=True, slots=True)
class BeeswarmFigures:
    """What is shown, line by line from the top: (rows, lines) SHAP values and shades of the features' values."""

    labels: Sequence[str]
    values: NDArray[np.float64]
    shades: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        features: NDArray[np.float32],
        values: NDArray[np.float32],
        mean_abs: NDArray[np.float64],
        names: Sequence[str],
        max_display: int,
    ) -> BeeswarmFigures:
        """Choose what is shown. `features` and `values` have shape (rows, features), `mean_abs` (features,)."""
        ranking = Ranking.by(mean_abs, max_display)
        shade = np.full((len(values), ranking.lines), MISSING)  # a sum of features has no value of its own
        for line, place in enumerate(ranking.shown):
            shade[:, line] = shades(features[:, place].astype(np.float64))
        return cls(ranking.labels(names), ranking.gather(values), shade)


def draw_beeswarm(figures: BeeswarmFigures, title: str) -> Drawing:
    """Draw the plot."""
    frame = Frame.for_lines(
        [shortened(label) for label in figures.labels],
        f"SHAP values of single rows, {title}",
        title,
        beside=_BESIDE,
    )
    drawing, values = frame.drawing, figures.values
    scale = Scale.around(min(values.min(), 0.0), max(values.max(), 0.0), frame.left, frame.right)
    drawing.line((scale(0.0), frame.top), (scale(0.0), frame.bottom), opacity=0.45)
    shuffled = np.random.default_rng(0).permutation(len(values))
    for line, label in enumerate(figures.labels):
        y = frame.middle(line)
        drawing.line((frame.left, y), (frame.right, y), opacity=0.25, dash="1 5")
        drawing.name((frame.left - 10, y + 4.5), label)
        offsets = swarm_offsets(values[:, line], shuffled)
        pixels = frame.left + (values[:, line] - scale.least) * (frame.right - frame.left) / (
            scale.most - scale.least
        )
        draw_shaded(drawing, pixels, y - offsets * LINE, figures.shades[:, line], _RADIUS)
    draw_bottom_axis(drawing, scale, frame.bottom, "SHAP value (impact on model output)")
    draw_colour_bar(drawing, frame.right + 34, frame.top, frame.bottom, "Feature value", ("Low", "High"))
    return drawing
