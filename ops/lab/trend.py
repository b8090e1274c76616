"""Whether memory grows, from the samples of a soak."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ops.lab.memory import MB

#: MB that a process may grow in an hour.
MOST_GROWTH = 5.0
#: Minutes of a soak that can tell growth from noise, and the shortest part of a process's run that can, in seconds.
TELLING_MINUTES, SHORTEST_PART = 20.0, 300.0
#: Seconds that are not judged at the beginning of a process's run.
WARM_UP = 300.0
#: Parts of a run whose medians are compared: peaks do not count.
PARTS = 10
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

    def latest(self) -> str:
        """Return the last size of each process."""
        sizes = [(name, points[-1][1]) for (name, _), points in list(self.points.items())]
        return "  ".join(f"{name} {size / MB:.0f}" for name, size in sizes)

    def peak(self, name: str) -> float:
        """Return a program's peak in MB."""
        return max(size for run in self.runs(name) for _, size in run) / MB

    def table(self) -> list[list[str]]:
        """Return a line for each program: its first and last size, its peak and its growth in MB."""
        lines = [["MB", "first", "last", "peak", "growth an hour", "runs"]]
        for name in self.names():
            runs, growth = self.runs(name), self.growth(name)
            sizes = (runs[0][0][1] / MB, runs[-1][-1][1] / MB, self.peak(name))
            grows = "not known" if growth is None else f"{growth:+.1f}"
            lines.append([name, *(f"{size:.1f}" for size in sizes), grows, str(len(runs))])
        return lines

    def growth(self, name: str) -> float | None:
        """Return the growth in MB an hour after the warm-up, each run counted by its length.

        A recycled worker starts small, so each run is judged alone, and warms up as well. None if all are too short.
        """
        grown, hours = 0.0, 0.0
        for run in self.runs(name):
            begin = WARM_UP + (run[0][0] if run[0][0] > WARM_UP else 0.0)
            part = [point for point in run if point[0] >= begin]
            if part and part[-1][0] - part[0][0] >= SHORTEST_PART:
                grown += _growth(part)
                hours += (part[-1][0] - part[0][0]) / 3600 * (PARTS - 1) / PARTS
        return grown / hours if hours else None

    def write(self, path: Path) -> None:
        """Write all samples as CSV."""
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(["name", "pid", "seconds", "bytes"])
            for (name, pid), points in self.points.items():
                lines.writerows([name, pid, f"{seconds:.1f}", size] for seconds, size in points)


def _growth(points: Sequence[Point]) -> float:
    """Return by how many MB the median of the last part is above that of the first part."""
    parts = np.array_split(np.array([size for _, size in points]), PARTS)
    return float(np.median(parts[-1]) - np.median(parts[0])) / MB


def judge(samples: Samples) -> tuple[list[str], list[str]]:
    """Return what is wrong with the memory, and remarks."""
    faults, remarks = [], []
    if samples.seconds < samples.minutes * 60 * WHOLE_SHARE:
        faults.append(f"the samples end after {samples.seconds / 60:.1f} minutes")
    if samples.seconds < TELLING_MINUTES * 60:
        short = (
            f"The soak is shorter than {TELLING_MINUTES:.0f} minutes: slow growth is noise and not judged."
        )
        return faults, [short]
    for name in samples.names()[:-1]:
        growth, runs = samples.growth(name), len(samples.runs(name))
        if growth is None or growth <= MOST_GROWTH:
            continue
        said = f"{name} grows by {growth:.1f} MB an hour, more than {MOST_GROWTH:.0f}"
        if name.startswith(RECYCLED) and runs > 1:
            remarks.append(f"{said}: its recycle bounds it ({runs} runs, peak {samples.peak(name):.0f} MB).")
        else:
            faults.append(said)
    return faults, remarks
