"""The beeswarm plot: one dot for each row and feature, as in shap.plots.beeswarm.

Features are ranked by all rows. The dots are those of the sample (shared/summary/sample.py): all rows of a small job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.api.results.plots.axes import Scale, draw_bottom_axis
from services.api.results.plots.colours import MISSING, draw_colour_bar, draw_shaded, shades
from services.api.results.plots.lines import LINE, LinesDrawing, Ranking
from services.api.results.plots.numbers import Floats, Whole
from services.api.results.plots.svg import Drawing
from shared.explanation import Matrix

#: Pixels of a dot's radius, and of the room for the colour bar.
_RADIUS, _BESIDE = 2.4, 96.0
#: The bins that the values of a line are counted into, and the share of the line's height that the fullest one takes.
BINS, HEIGHT = 100, 0.9 * 0.4


@dataclass(frozen=True, slots=True)
class BeeswarmFigures:
    """Labels, and (rows, lines) SHAP values and shades of the features' values."""

    labels: Sequence[str]
    values: Floats
    shades: Whole

    @classmethod
    def of(
        cls, features: Matrix, values: Matrix, mean_abs: Floats, names: Sequence[str], max_display: int
    ) -> BeeswarmFigures:
        """Choose the lines. Shapes: (rows, features) twice, (features,)."""
        ranking = Ranking.by(mean_abs, max_display)
        gathered = ranking.gather(values)
        shade = np.full(gathered.shape, MISSING)  # a sum of features has no value of its own
        for line, place in enumerate(ranking.shown):
            shade[:, line] = shades(features[:, place].astype(np.float64))
        return cls(ranking.labels(names), gathered, shade)


def draw_beeswarm(figures: BeeswarmFigures, title: str) -> Drawing:
    """Draw the plot."""
    drawing = LinesDrawing("SHAP values of single rows", title, figures.labels, beside=_BESIDE)
    left, right, top, bottom = drawing.left, drawing.right, drawing.top, drawing.bottom
    values = figures.values
    scale = Scale.around(min(values.min(), 0.0), max(values.max(), 0.0), left, right)
    drawing.line((scale(0.0), top), (scale(0.0), bottom), opacity=0.45)
    shuffled = np.random.default_rng(0).permutation(len(values))
    for line in range(len(figures.labels)):
        y = drawing.middle(line)
        drawing.line((left, y), (right, y), opacity=0.25, dash="1 5")
        heights = y - swarm_offsets(values[:, line], shuffled) * LINE
        draw_shaded(drawing, scale(values[:, line]), heights, figures.shades[:, line], _RADIUS)
    draw_bottom_axis(drawing, scale, bottom, "SHAP value (impact on model output)")
    draw_colour_bar(drawing, right + 34, top, bottom, "Feature value", ("Low", "High"))
    return drawing


def swarm_offsets(values: Floats, shuffled: Whole) -> Floats:
    """Return the distance of each dot from its line's middle, in shares of the line's height.

    As in shap.plots.beeswarm, dots of the same bin are stacked above and below the line in turn. `values` has shape
    (dots,); `shuffled` is their order in the stacks, by chance, and the same each time.
    """
    least = values.min()
    bins = np.round(BINS * (values - least) / (values.max() - least + 1e-8)).astype(np.int64)
    order = shuffled[np.argsort(bins[shuffled], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(bins, minlength=BINS + 1))[:-1]])
    layers = np.empty(len(values), dtype=np.int64)
    layers[order] = np.arange(len(values)) - starts[bins[order]]
    offsets: Floats = np.ceil(layers / 2) * (layers % 2 * 2 - 1)
    return offsets * (HEIGHT / (offsets.max() + 1))
