"""Times several ways of doing the same thing, turn by turn, so that a noisy machine is unfair to none of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

#: Turns at least, and seconds after which no more begin.
LEAST_TURNS = 7
SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one way: the median of all turns, and what a tenth of them were below and above."""

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
            began = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - began)
    return {name: _timing(found) for name, found in taken.items()}


def _timing(seconds: list[float]) -> Timing:
    low, median, high = np.quantile(seconds, (0.1, 0.5, 0.9))
    return Timing(float(median), float(low), float(high))
