"""The dependence plot: SHAP values of a feature against its values, as shap.plots.scatter.

The colours are the values of the feature that seems to interact with it most. Rows without a value are ticks on the
left. The grey columns are the distribution of the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.api.results.plots.axes import Scale, draw_bottom_axis, draw_left_axis
from services.api.results.plots.colours import draw_colour_bar, draw_shaded, shade_bounds, shades
from services.api.results.plots.numbers import Floats, told_apart, value_text
from services.api.results.plots.svg import Drawing, shortened
from shared.explanation import Matrix
from shared.models.contract import Feature, Kind

#: Pixels of the plot, and its box.
_WIDTH, _HEIGHT = 720.0, 460.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 84.0, 610.0, 40.0, 402.0
_RADIUS = 2.6
#: The most columns of the distribution, and letters of a label beside the colour bar.
_COLUMNS, _END_LETTERS = 50, 9
#: The most rows of a run, and the fewest runs, in the estimate of interactions.
_RUN_ROWS, _LEAST_RUNS = 50, 10
#: A feature whose values add up to less than this is left out of that estimate.
_NOTHING = 1e-8


@dataclass(frozen=True, slots=True)
class DependenceFigures:
    """Both features, and (rows,) `x` values, SHAP values and `colours`: values of the other."""

    feature: Feature
    other: Feature | None
    x: Floats
    values: Floats
    colours: Floats

    @classmethod
    def of(
        cls, feature: int, features: Matrix, values: Matrix, columns: Sequence[Feature]
    ) -> DependenceFigures:
        """Choose the other feature. `features` and `values` have shape (rows, features)."""
        place = strongest_interaction(feature, features, values[:, feature])
        other = columns[place] if place != feature else None
        x, colours = features[:, feature].astype(np.float64), features[:, place].astype(np.float64)
        return cls(columns[feature], other, x, values[:, feature].astype(np.float64), colours)


def draw_dependence(figures: DependenceFigures, title: str) -> Drawing:
    """Draw the plot."""
    feature = figures.feature
    name = shortened(feature.name)
    drawing = Drawing(_WIDTH, _HEIGHT, f"SHAP values against {feature.name}", title)
    given = figures.x[~np.isnan(figures.x)]
    ends = (float(given.min()), float(given.max())) if len(given) else (0.0, 0.0)
    names = None
    if feature.kind is Kind.CATEGORY:  # each code has the same room
        across = Scale(ends[0] - 0.5, ends[1] + 0.5, _LEFT, _RIGHT)
        names = {code: value_text(feature, code) for code in np.unique(given).tolist()} or None
    else:
        across = Scale.around(*ends, _LEFT, _RIGHT)
    up = Scale.around(figures.values.min(), figures.values.max(), _BOTTOM, _TOP)
    _draw_distribution(drawing, feature, given, across)
    if up.least < 0 < up.most:
        drawing.line((_LEFT, up(0.0)), (_RIGHT, up(0.0)), opacity=0.35, dash="1 5")
    _draw_rows(drawing, figures, across, up)
    draw_bottom_axis(drawing, across, _BOTTOM, name, names)
    draw_left_axis(drawing, up, _LEFT, f"SHAP value for {name}")
    if figures.other is not None:
        shown = _shade_ends(figures.other, figures.colours)
        draw_colour_bar(drawing, _RIGHT + 26, _TOP, _BOTTOM, figures.other.name, shown)
    return drawing


def strongest_interaction(feature: int, features: Matrix, values: Matrix) -> int:
    """Return the place of the other feature that seems to change a feature's SHAP values most.

    As in shap.utils.approximate_interactions, rows are ordered by the feature's value and cut into runs in which it hardly
    differs. The SHAP value's correlations with each other feature, or with its being missing, are added up over the runs.
    Without any, the result is `feature`. `features` has shape (rows, features), `values` (rows,). NaN is missing.
    """
    order = np.argsort(features[:, feature], kind="stable")
    others, phi = features[order].astype(np.float64), values[order].astype(np.float64)
    run = max(min(len(order) // _LEAST_RUNS, _RUN_ROWS), 1)
    missing = np.isnan(others).astype(np.float64)
    scores = np.maximum(_score(phi, others, run), _score(phi, missing, run))
    scores[feature] = 0.0
    best = int(np.argmax(scores))
    return best if scores[best] > 0 else feature


def _score(phi: Floats, others: Floats, run: int) -> Floats:
    scores = np.zeros(others.shape[1])
    for start in range(0, len(phi), run):
        x, y = others[start : start + run], phi[start : start + run]
        x_off, y_off = x - x.mean(axis=0), y - y.mean()
        scale = np.sqrt(np.square(x_off).sum(axis=0) * np.square(y_off).sum())
        # A run in which the other feature is missing somewhere has a scale of NaN, and does not count.
        there = scale > 0
        scores[there] += np.abs(y_off @ x_off[:, there] / scale[there])
    return np.where(np.abs(others).sum(axis=0) < _NOTHING, 0.0, scores)


def _shade_ends(other: Feature, colours: Floats) -> tuple[str, str]:
    """Return the values of the lowest and the highest colour, as text."""
    least, most = shade_bounds(colours)
    if other.kind is Kind.CATEGORY:
        low, high = (shortened(value_text(other, end), _END_LETTERS) for end in (least, most))
        return low, high
    return told_apart(least, (most - least) / 10), told_apart(most, (most - least) / 10)


def _draw_rows(drawing: Drawing, figures: DependenceFigures, across: Scale, up: Scale) -> None:
    missing = np.isnan(figures.x)
    x, y, shade = across(figures.x), up(figures.values), shades(figures.colours)
    draw_shaded(drawing, x[~missing], y[~missing], shade[~missing], _RADIUS)
    for height in y[missing].tolist():
        drawing.line((_LEFT + 1, height), (_LEFT + 7, height), opacity=0.5, width=1.5)


def _draw_distribution(drawing: Drawing, feature: Feature, given: Floats, across: Scale) -> None:
    """Draw columns, one for each code of a category. All rows together fill the height."""
    if len(given) == 0 or given.min() == given.max():
        return
    bins = min(_COLUMNS, len(np.unique(given)))
    codes = np.arange(given.min(), given.max() + 2) - 0.5 if feature.kind is Kind.CATEGORY else None
    counts, edges = np.histogram(given, bins=bins if codes is None else codes)
    for count, left, right in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if count:
            top = _BOTTOM - count / len(given) * (_BOTTOM - _TOP)
            drawing.box((across(left), _BOTTOM), (across(right), top), "#888888", opacity=0.18)
