"""Times several ways of doing the same thing in turns, so that noise affects all alike.

Each way explains the rows of a call, or fewer where that would take too long. A cell never stays empty: what was measured on
fewer rows says so, and what failed or did not end says that instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ops.lab.bench.report import short, spread

#: Turns of each way at least, unless one takes so long that they would take all the time.
LEAST_TURNS = 3
#: Seconds that a turn takes at least: what is quick is called several times in a row, as a worker does, and finds in
#: the processor's caches what a worker would.
TURN_SECONDS = 0.01
#: By how much more rows are tried at a time.
GROWTH = 10
#: How many times as long as for one row a call may take at least: some libraries begin every call with a costly table.
FIXED_SHARE = 1.5

#: Explains so many rows, and returns the seconds that it took. Raises WayError.
type Way = Callable[[int], float]


class WayError(Exception):
    """A way cannot do it, or not in time; the message is what the table says."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Seconds a row: the median of all turns, and the 10th and 90th percentile."""

    rows: int
    median: float
    low: float
    high: float


#: A cell, or why there are no figures in it.
type Found = Cell | str


def timed(explain: Callable[[np.ndarray], object], rows: np.ndarray) -> Way:
    """Return what explains the first so many of these rows and tells how long that took."""

    def way(count: int) -> float:
        given = np.ascontiguousarray(rows[:count])
        began = time.perf_counter()
        explain(given)
        return time.perf_counter() - began

    return way


def fill_cells(ways: Mapping[str, Way], rows: int, seconds: float) -> dict[str, Found]:
    """Measure every way on so many rows in about so many seconds."""
    found: dict[str, Found] = {}
    counts: dict[str, int] = {}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    share = seconds / max(len(ways), 1) / (LEAST_TURNS + 2)
    waiting, end = dict(ways), time.perf_counter() + seconds
    while waiting:
        for name, way in tuple(waiting.items()):
            turns = taken[name]
            try:
                if name not in counts:
                    counts[name] = rows_that_fit(way, rows, share)
                else:
                    turns.append(_turn(way, counts[name]))
            except WayError as fault:
                found[name] = str(fault)
            slow = bool(turns) and turns[0] * LEAST_TURNS > seconds
            if name in found or slow or (len(turns) >= LEAST_TURNS and time.perf_counter() >= end):
                del waiting[name]
    return {name: found.get(name) or _cell(counts[name], taken[name]) for name in ways}


def rows_that_fit(way: Way, rows: int, seconds: float) -> int:
    """Return how many rows a call explains in some seconds, or in little more than one takes."""
    count, limit = 1, max(seconds, min(way(1), way(1)) * FIXED_SHARE)
    while (more := min(count * GROWTH, rows)) > count and way(more) <= limit:
        count = more
    return count


def _turn(way: Way, rows: int) -> float:
    """Return the seconds of a call, of as many as fill a turn."""
    passed, calls = 0.0, 0
    while passed < TURN_SECONDS:
        passed += way(rows)
        calls += 1
    return passed / calls


def _cell(rows: int, seconds: list[float]) -> Cell:
    low, median, high = (float(each) / rows for each in np.quantile(seconds, (0.1, 0.5, 0.9)))
    return Cell(rows, median, low, high)


def cell_text(found: Found | None, rows: int) -> str:
    """Return µs a row with their spread and on how many rows, or why there are none."""
    if found is None:
        return "not installed"
    if isinstance(found, str):
        return found.replace("|", "/")
    fewer = f" on {found.rows:,}" if found.rows < rows else ""
    return spread(found.median * 1e6, found.low * 1e6, found.high * 1e6) + fewer


def ratio(own: Found | None, other: Found | None) -> float | None:
    """Return how many times as fast the first is as the other, None where one has no figures."""
    return other.median / own.median if isinstance(own, Cell) and isinstance(other, Cell) else None


def times(found: float | None) -> str:
    """Return a ratio for a table."""
    return f"x {short(found)}" if found else "?"
