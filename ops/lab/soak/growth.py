"""Judges whether a process grows, for each run alone: a recycled worker starts small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ops.lab.soak.history import History, ProcessRun
from ops.lab.soak.trend import Point, median_around, slope_per_hour

#: Bytes of an MB.
MB = 2**20
#: MB that a process may grow in an hour.
MOST_GROWTH = 5.0
#: Minutes of a run that can tell growth from noise.
TELLING_MINUTES = 20.0
#: Seconds that each median is taken over, at most.
MEDIAN_SECONDS = 60.0
#: The share of a run that its medians are taken over, at most.
MEDIAN_SHARE = 0.1
#: The shortest part of a run, in seconds, whose slope means anything, and the same as a share of the run.
SHORTEST_PART, SHORTEST_SHARE = 300.0, 0.1


@dataclass(frozen=True, slots=True)
class Course:
    """How one series went, in MB. None where nothing was measured."""

    name: str
    warm: float | None
    middle: float | None
    end: float | None
    peak: float
    growth: float | None
    runs: int

    @property
    def grows(self) -> bool:
        """Whether it grows more than it may."""
        return self.growth is not None and self.growth > MOST_GROWTH


def course_of(name: str, history: History) -> Course:
    """Return the course of one program over all its runs."""
    runs = history.runs[name]
    points = [point for run in runs for point in run.points]
    parts = [part for run in runs if (part := _judged(run, history))]
    return _course(name, points, _growth(parts), len(runs), history)


def course_of_working_set(history: History) -> Course:
    """Return the course of the whole."""
    points = history.working_set
    late = [point for point in points if point[0] >= history.warm_up]
    return _course("working set", points, _growth([late] if late else []), 1, history)


def _course(name: str, points: Sequence[Point], growth: float | None, runs: int, history: History) -> Course:
    width = min(MEDIAN_SECONDS, history.seconds * MEDIAN_SHARE)
    moments = (
        history.warm_up,
        (history.warm_up + history.seconds) / 2,
        history.seconds - width / 2,
    )
    medians = [median_around(points, moment, width) for moment in moments]
    warm, middle, end = (None if median is None else median / MB for median in medians)
    peak = max((value for _, value in points), default=0.0) / MB
    return Course(name, warm, middle, end, peak, growth, runs)


def _judged(run: ProcessRun, history: History) -> Sequence[Point]:
    """Return the part of a run after the warm-up: the soak's, or its own if it began later."""
    own = run.born + history.warm_up if run.born > history.warm_up else history.warm_up
    part = [point for point in run.points if point[0] >= own]
    shortest = min(SHORTEST_PART, history.seconds * SHORTEST_SHARE)
    return part if part and part[-1][0] - part[0][0] >= shortest else []


def _growth(parts: Sequence[Sequence[Point]]) -> float | None:
    """Return the parts' growth in MB an hour, each counted by its length; None without any."""
    lengths = [part[-1][0] - part[0][0] for part in parts]
    if not sum(lengths):
        return None
    slopes = [slope_per_hour(part) for part in parts]
    return sum(slope * length for slope, length in zip(slopes, lengths, strict=True)) / sum(lengths) / MB
