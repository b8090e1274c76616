"""The dependence plot: one feature's SHAP values against its values, as shap.plots.scatter shows them.

Colours are the values of the feature that seems to interact with it most. Rows without a value stand as ticks on the
left; the grey columns are the distribution of the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.api.results.plots.axis import Scale, draw_bottom_axis, draw_bottom_names, draw_left_axis
from services.api.results.plots.colour_bar import draw_colour_bar
from services.api.results.plots.feature_values import is_category, value_text
from services.api.results.plots.interaction import strongest_interaction
from services.api.results.plots.numbers import told_apart
from services.api.results.plots.shades import draw_shaded, shade_bounds, shades
from services.api.results.plots.svg import Drawing, shortened
from shared.models.contract import Feature

#: Pixels of the plot, and its box.
_WIDTH, _HEIGHT = 720.0, 460.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 84.0, 610.0, 40.0, 402.0
_RADIUS = 2.6
#: Columns of the distribution, at most.
_COLUMNS = 50
#: Letters of a label beside the colour bar.
_END_LETTERS = 9


@dataclass(frozen=True, slots=True)
class DependenceFigures:
    """What is shown: (rows,) values of the feature (NaN is missing), SHAP values, and values of the other feature."""

    feature: Feature
    other: Feature | None
    x: NDArray[np.float64]
    values: NDArray[np.float64]
    colours: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        feature: int,
        features: NDArray[np.float32],
        values: NDArray[np.float32],
        columns: Sequence[Feature],
    ) -> DependenceFigures:
        """Choose what is shown; `features` and `values` have shape (rows, features)."""
        other = strongest_interaction(feature, features, values[:, feature])
        return cls(
            columns[feature],
            columns[other] if other != feature else None,
            features[:, feature].astype(np.float64),
            values[:, feature].astype(np.float64),
            features[:, other].astype(np.float64),
        )


def draw_dependence(figures: DependenceFigures, title: str) -> Drawing:
    """Draw the plot."""
    name = shortened(figures.feature.name)
    drawing = Drawing(_WIDTH, _HEIGHT, f"SHAP values against {figures.feature.name}, {title}")
    drawing.text((16, 24), title, size=12, opacity=0.75)
    given = figures.x[~np.isnan(figures.x)]
    ends = (float(given.min()), float(given.max())) if len(given) else (0.0, 0.0)
    if is_category(figures.feature):  # each code has the same room
        across = Scale(ends[0] - 0.5, ends[1] + 0.5, _LEFT, _RIGHT)
    else:
        across = Scale.around(*ends, _LEFT, _RIGHT)
    up = Scale.around(figures.values.min(), figures.values.max(), _BOTTOM, _TOP)
    _draw_distribution(drawing, figures.feature, given, across)
    if up.least < 0 < up.most:
        drawing.line((_LEFT, up(0.0)), (_RIGHT, up(0.0)), opacity=0.35, dash="1 5")
    _draw_rows(drawing, figures, across, up)
    if is_category(figures.feature) and len(given):
        codes = np.unique(given).tolist()
        draw_bottom_names(
            drawing, across, _BOTTOM, name, {code: value_text(figures.feature, code) for code in codes}
        )
    else:
        draw_bottom_axis(drawing, across, _BOTTOM, name)
    draw_left_axis(drawing, up, _LEFT, f"SHAP value for {name}")
    if figures.other is not None:
        shown = _shade_ends(figures.other, figures.colours)
        draw_colour_bar(drawing, _RIGHT + 26, _TOP, _BOTTOM, figures.other.name, shown)
    return drawing


def _shade_ends(other: Feature, colours: NDArray[np.float64]) -> tuple[str, str]:
    """Return the values of the lowest and the highest colour, as text."""
    least, most = shade_bounds(colours)
    if is_category(other):
        low, high = (shortened(value_text(other, end), _END_LETTERS) for end in (least, most))
        return low, high
    return told_apart(least, (most - least) / 10), told_apart(most, (most - least) / 10)


def _draw_rows(drawing: Drawing, figures: DependenceFigures, across: Scale, up: Scale) -> None:
    shade = shades(figures.colours)
    missing = np.isnan(figures.x)
    y = up.start + (figures.values - up.least) * (up.end - up.start) / (up.most - up.least)
    x = across.start + (figures.x - across.least) * (across.end - across.start) / (across.most - across.least)
    draw_shaded(drawing, x[~missing], y[~missing], shade[~missing], _RADIUS)
    for height in y[missing].tolist():
        drawing.line((_LEFT + 1, height), (_LEFT + 7, height), opacity=0.5, width=1.5)


def _draw_distribution(drawing: Drawing, feature: Feature, given: NDArray[np.float64], across: Scale) -> None:
    """Draw columns that would fill the height if all rows were in one of them; a category has one for each code."""
    if len(given) == 0 or given.min() == given.max():
        return
    if is_category(feature):
        counts, edges = np.histogram(given, bins=np.arange(given.min(), given.max() + 2) - 0.5)
    else:
        counts, edges = np.histogram(given, bins=min(_COLUMNS, len(np.unique(given))))
    for count, left, right in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if count:
            top = _BOTTOM - count / len(given) * (_BOTTOM - _TOP)
            start, end = across(left), across(right)
            drawing.area(
                [(start, _BOTTOM), (end, _BOTTOM), (end, top), (start, top)], "#888888", opacity=0.18
            )
