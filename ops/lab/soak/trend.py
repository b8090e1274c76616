"""Growth and medians of a series that jumps, robust against single points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: A moment in seconds and what was measured then.
type Point = tuple[float, float]
#: Points that a slope is taken of, at most: each pair of them has a slope of its own.
MOST_POINTS = 400
#: Seconds of an hour.
HOUR = 3600.0


def median_around(points: Sequence[Point], moment: float, width: float) -> float | None:
    """Return the median over `width` seconds around a moment; None without a measurement."""
    values = [value for seconds, value in points if abs(seconds - moment) <= width / 2]
    return float(np.median(values)) if values else None


def slope_per_hour(points: Sequence[Point]) -> float:
    """Return the growth in an hour: the median slope between pairs of points (Theil-Sen).

    0 for fewer than two moments.
    """
    thinned = np.asarray(thin(points, MOST_POINTS), dtype=np.float64).reshape(-1, 2)
    earlier, later = np.triu_indices(len(thinned), k=1)
    apart = thinned[later] - thinned[earlier]
    apart = apart[apart[:, 0] > 0]
    return float(np.median(apart[:, 1] / apart[:, 0])) * HOUR if len(apart) else 0.0


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most `most` points: each the median of its share of the time."""
    if len(points) <= most:
        return list(points)
    shares = np.array_split(np.asarray(points, dtype=np.float64), most)
    return [(float(np.median(share[:, 0])), float(np.median(share[:, 1]))) for share in shares]
