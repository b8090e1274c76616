"""Times several ways of doing the same thing in turns, so that noise affects all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

#: Turns at least, and seconds after which no more begin.
LEAST_TURNS = 7
SECONDS = 3.0
#: Seconds that a turn takes at least: what is quick is called several times in a row, as a worker does, and finds in
#: the processor's caches what a worker would.
TURN_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one way: the median of all turns, the 10th and the 90th percentile."""

    median: float
    low: float
    high: float


def take_turns(ways: Mapping[str, Callable[[], object]], seconds: float = SECONDS) -> dict[str, Timing]:
    """Run each way once unseen, then all of them in turn."""
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, taken.values())) < LEAST_TURNS:
        for name, way in ways.items():
            taken[name].append(_turn(way))
    return {name: _timing(found) for name, found in taken.items()}


def _turn(way: Callable[[], object]) -> float:
    """Return the seconds of a call, of as many as fill a turn."""
    calls, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < TURN_SECONDS or not calls:
        way()
        calls += 1
    return passed / calls


def _timing(seconds: list[float]) -> Timing:
    low, median, high = np.quantile(seconds, (0.1, 0.5, 0.9))
    return Timing(float(median), float(low), float(high))
