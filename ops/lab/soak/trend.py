"""Whether memory grows, from the samples of a soak, and the verdict on it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ops.lab.memory import MB

#: MB that a process may grow in an hour.
MOST_GROWTH = 5.0
#: Minutes of a run that can tell growth from noise.
TELLING_MINUTES = 20.0
#: Seconds that each median is taken over, at most, and the share of a short run.
MEDIAN_SECONDS, MEDIAN_SHARE = 60.0, 0.1
#: The shortest part of a run, in seconds, whose slope means anything, and the same as a share of the soak.
SHORTEST_PART, SHORTEST_SHARE = 300.0, 0.1
#: Points that a slope is taken of, at most: each pair of them has a slope of its own.
MOST_POINTS = 400
#: The share of a soak that must have samples: on a busy machine the last one may be late.
WHOLE_SHARE = 0.9
#: The name of the whole, and how the names of the processes begin that are recycled when they have grown.
WHOLE, RECYCLED = "working set", "worker-"

#: A moment in seconds and the bytes measured then.
type Point = tuple[float, float]


@dataclass(slots=True)
class Samples:
    """The memory of a soak, by program and process; the whole has process 0."""

    minutes: float
    warm_up: float
    points: dict[tuple[str, int], list[Point]] = field(default_factory=dict)

    def add(self, seconds: float, measured: Mapping[tuple[str, int], int]) -> None:
        """Keep what was measured at a moment."""
        for key, size in measured.items():
            self.points.setdefault(key, []).append((seconds, size))

    @property
    def seconds(self) -> float:
        """When the last sample of the whole was taken."""
        return max((seconds for seconds, _ in self.points.get((WHOLE, 0), [])), default=0.0)

    def runs(self, name: str) -> list[list[Point]]:
        """Return the samples of each process that a program was."""
        return [points for (program, _), points in self.points.items() if program == name]

    def names(self) -> list[str]:
        """Return the programs, and the whole last."""
        return [*sorted({name for name, _ in self.points} - {WHOLE}), WHOLE]

    def write(self, path: Path) -> None:
        """Write all samples as CSV."""
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(["name", "pid", "seconds", "bytes"])
            for (name, pid), points in self.points.items():
                lines.writerows([name, pid, f"{seconds:.1f}", size] for seconds, size in points)


@dataclass(frozen=True, slots=True)
class Course:
    """How one program's memory went, in MB. None where nothing was measured."""

    name: str
    warm: float | None
    middle: float | None
    end: float | None
    peak: float
    growth: float | None
    runs: int

    @classmethod
    def of(cls, name: str, samples: Samples) -> Course:
        """Follow a program over all its runs.

        A recycled worker starts small, so each run is judged alone.
        """
        runs = samples.runs(name)
        points = [point for run in runs for point in run]
        width = min(MEDIAN_SECONDS, samples.seconds * MEDIAN_SHARE)
        last = samples.seconds - width / 2
        moments = (samples.warm_up, (samples.warm_up + samples.seconds) / 2, last)
        warm, middle, end = (_median_around(points, moment, width) for moment in moments)
        peak = max((size for _, size in points), default=0.0) / MB
        return cls(name, warm, middle, end, peak, _growth(runs, samples), len(runs))


def _growth(runs: Sequence[Sequence[Point]], samples: Samples) -> float | None:
    """Return the growth in MB an hour after the warm-up, each run counted by its length."""
    shortest = min(SHORTEST_PART, samples.seconds * SHORTEST_SHARE)
    slopes, lengths = [], []
    for run in runs:
        born = run[0][0]
        begin = samples.warm_up + (born if born > samples.warm_up else 0.0)
        part = [point for point in run if point[0] >= begin]
        if part and part[-1][0] - part[0][0] >= shortest > 0:
            slopes.append(slope_per_hour(part) / MB)
            lengths.append(part[-1][0] - part[0][0])
    return float(np.average(slopes, weights=lengths)) if slopes else None


def _median_around(points: Sequence[Point], moment: float, width: float) -> float | None:
    sizes = [size / MB for seconds, size in points if abs(seconds - moment) <= width / 2]
    return float(np.median(sizes)) if sizes else None


def slope_per_hour(points: Sequence[Point]) -> float:
    """Return the median slope between pairs of points (Theil-Sen): peaks do not count."""
    thinned = np.asarray(thin(points, MOST_POINTS), dtype=np.float64).reshape(-1, 2)
    earlier, later = np.triu_indices(len(thinned), k=1)
    apart = thinned[later] - thinned[earlier]
    apart = apart[apart[:, 0] > 0]
    return float(np.median(apart[:, 1] / apart[:, 0])) * 3600 if len(apart) else 0.0


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most `most` points: each the median of its share of the time."""
    if len(points) <= most:
        return list(points)
    shares = np.array_split(np.asarray(points, dtype=np.float64), most)
    return [(float(np.median(share[:, 0])), float(np.median(share[:, 1]))) for share in shares]


def judge(samples: Samples, courses: Sequence[Course]) -> tuple[list[str], list[str]]:
    """Return what is wrong with the memory, and remarks."""
    faults, remarks = [], []
    if samples.seconds < samples.minutes * 60 * WHOLE_SHARE:
        faults.append(f"the samples end after {samples.seconds / 60:.1f} minutes")
    if samples.seconds < TELLING_MINUTES * 60:
        noise = (
            f"The soak is shorter than {TELLING_MINUTES:.0f} minutes: slow growth is noise and not judged."
        )
        return faults, [noise]
    for course in courses:
        if course.name == WHOLE or course.growth is None or course.growth <= MOST_GROWTH:
            continue
        said = f"{course.name} grows by {course.growth:.1f} MB an hour, more than {MOST_GROWTH:.0f}"
        if course.name.startswith(RECYCLED) and course.runs > 1:
            remarks.append(f"{said}: its recycle bounds it ({course.runs} runs, peak {course.peak:.0f} MB).")
        else:
            faults.append(said)
    return faults, remarks
