"""Times each way on the rows of a cell, or on fewer where that would take too long.

The ways take turns, so that a noisy machine is unfair to none of them. A cell never stays empty: what was measured on
fewer rows says so, and what did not end at all says after how long it was given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ops.lab.bench.peer_engine import PeerError

#: Turns of each way at least, unless one takes longer than it may.
LEAST_TURNS = 3
#: Seconds that a turn takes at least: what is quick is called several times in a row.
TURN_SECONDS = 0.01
#: By how much more rows are tried at a time: what the first few take says little of many.
GROWTH = 32
#: How many times as long as for one row a call may take at least.
FIXED_SHARE = 1.5

#: Explains so many rows, and returns the seconds that it took.
type Way = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Cell:
    """Seconds a row: the median of all turns, the 10th and 90th percentile, and the rows."""

    rows: int
    median: float
    low: float
    high: float


#: A cell, or why there are no figures in it.
type Found = Cell | str


def fill_cells(ways: Mapping[str, Way], rows: int, seconds: float) -> dict[str, Found]:
    """Measure every way on so many rows in about so many seconds."""
    found: dict[str, Found] = {}
    share = seconds / max(len(ways), 1) / (LEAST_TURNS + 2)
    counts: dict[str, int] = {}
    for name, way in ways.items():
        try:
            counts[name] = rows_that_fit(way, rows, share)
        except PeerError as fault:
            found[name] = str(fault)
    taken = _take_turns(ways, counts, seconds)
    for name, each in taken.items():
        found[name] = _cell(counts[name], each) if isinstance(each, list) else each
    return found


def rows_that_fit(way: Way, rows: int, seconds: float) -> int:
    """Return how many rows a call explains in some seconds, or in little more than one takes.

    Two calls give the cost of each further row, since some libraries begin every call with a costly table.
    """
    count, took = 1, min(way(1), way(1))
    most = max(seconds, took * FIXED_SHARE)
    wanted = min(rows, GROWTH)
    while wanted >= min(rows, 2 * count) and count < rows:
        tried = wanted if wanted == rows else _round(wanted)
        longer = way(tried)
        # Noise may make more rows quicker; they are never free.
        a_row = max(longer - took, longer / GROWTH) / (tried - count)
        if longer > most:
            return max(count, _round(count + int((most - took) / a_row)))
        count, took = tried, longer
        wanted = min(rows, count + int((most - took) / a_row), count * GROWTH)
        if wanted < rows:
            wanted = _round(wanted)
    return count


def _round(count: int) -> int:
    """Return the next smaller number that begins with 1, 2 or 5 and ends with noughts."""
    power = int(10 ** (len(str(count)) - 1))
    return max(step * power for step in (1, 2, 5) if step * power <= max(count, 1))


def _take_turns(
    ways: Mapping[str, Way], counts: Mapping[str, int], seconds: float
) -> dict[str, list[float] | str]:
    """Let those with a count take turns until the time is up; one that fails drops out."""
    taken: dict[str, list[float] | str] = {name: [] for name in counts}
    began, turns = time.perf_counter(), 0
    while turns < LEAST_TURNS or time.perf_counter() - began < seconds:
        for name in counts:
            each = taken[name]
            # One that is so slow that three turns would take all the time gets one turn.
            if isinstance(each, str) or (each and turns and each[0] * LEAST_TURNS > seconds):
                continue
            try:
                each.append(_turn(ways[name], counts[name]))
            except PeerError as fault:
                taken[name] = str(fault)
        turns += 1
        if not any(isinstance(each, list) and each[0] * LEAST_TURNS <= seconds for each in taken.values()):
            break
    return taken


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
