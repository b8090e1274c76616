"""Which colour a feature's value has: its place between the 5th and the 95th percentile, as in shap.plots."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.api.results.plots.colours import GREY, STEPS, ramp
from services.api.results.plots.svg import Drawing

#: The shade of a missing value.
MISSING = STEPS
#: Percentiles between which colours differ; the next ones if those are the same.
_TRIMS = ((5.0, 95.0), (1.0, 99.0), (0.0, 100.0))
#: How many times dots are drawn in their colours' order: once would put all red ones above all blue ones.
_PASSES = 4


def shade_bounds(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the values of the first and the last colour; NaN twice if all values are missing."""
    if np.isnan(values).all():
        return np.nan, np.nan
    for trim in _TRIMS:
        least, most = np.nanpercentile(values, trim)
        if least < most:
            break
    return float(least), float(max(least, most))


def shades(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of each value's colour: 0 to STEPS - 1, or MISSING for NaN."""
    least, most = shade_bounds(values)
    shares = (
        np.clip((values - least) / (most - least), 0.0, 1.0) if least < most else np.full(values.shape, 0.5)
    )
    missing = np.isnan(values)
    found: NDArray[np.int64] = np.where(missing, 0.0, np.rint(shares * (STEPS - 1))).astype(np.int64)
    found[missing] = MISSING
    return found


def draw_shaded(
    drawing: Drawing, x: NDArray[np.float64], y: NDArray[np.float64], shade: NDArray[np.int64], radius: float
) -> None:
    """Draw dots at pixels, in an order that has nothing to do with their colour."""
    colours = (*ramp(), GREY)
    for some in np.array_split(_shuffled(len(x)), _PASSES):
        for number, places in _by_shade(shade, some):
            drawing.dots(zip(x[places].tolist(), y[places].tolist(), strict=True), colours[number], radius)


def _by_shade(shade: NDArray[np.int64], places: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    ordered = places[np.argsort(shade[places], kind="stable")]
    for run in np.split(ordered, np.flatnonzero(np.diff(shade[ordered])) + 1):
        if len(run):
            yield int(shade[run[0]]), run


def _shuffled(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(count).permutation(count)
