"""A soak's samples, sorted: the working set, each process's runs, the counts at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ops.lab.soak.samples import Kind, Sample
from ops.lab.soak.trend import Point

#: The facts that every run writes down first.
MINUTES, WARM_UP_SECONDS, WORKERS, LIMIT_MB, SOFT_LIMIT_MB = (
    "minutes",
    "warm_up_seconds",
    "workers",
    "limit_mb",
    "soft_limit_mb",
)


@dataclass(frozen=True, slots=True)
class ProcessRun:
    """One process from its first to its last sample."""

    pid: int
    points: Sequence[Point]

    @property
    def born(self) -> float:
        """When it was seen first, in seconds from the start."""
        return self.points[0][0]


@dataclass(frozen=True, slots=True)
class History:
    """Everything that the reports are made of. Bytes and seconds."""

    facts: Mapping[str, float]
    source: str
    working_set: Sequence[Point]
    runs: Mapping[str, Sequence[ProcessRun]]
    counts: Mapping[str, int]

    @property
    def warm_up(self) -> float:
        """Seconds that count as warm-up."""
        return self.facts[WARM_UP_SECONDS]

    @property
    def seconds(self) -> float:
        """When the last sample of memory was taken."""
        return max((seconds for seconds, _ in self.working_set), default=0.0)


def sort_out(samples: Iterable[Sample]) -> History:
    """Sort samples, given in order of time. Raises ValueError if the run's facts are missing."""
    facts: dict[str, float] = {}
    counts: dict[str, int] = {}
    working_set: list[Point] = []
    runs: dict[str, list[tuple[int, list[Point]]]] = {}
    source = ""
    for one in samples:
        match one.kind:
            case Kind.FACT:
                facts[one.name] = one.value
            case Kind.COUNT:
                counts[one.name] = round(one.value)
            case Kind.WORKING_SET:
                source = one.name
                working_set.append((one.seconds, one.value))
            case Kind.PSS:
                of_name = runs.setdefault(one.name, [])
                if not of_name or of_name[-1][0] != one.pid:
                    of_name.append((one.pid, []))
                of_name[-1][1].append((one.seconds, one.value))
    if missing := {MINUTES, WARM_UP_SECONDS, WORKERS, LIMIT_MB, SOFT_LIMIT_MB} - facts.keys():
        raise ValueError(f"the samples do not tell {', '.join(sorted(missing))}")
    sorted_runs = {name: [ProcessRun(*run) for run in of_name] for name, of_name in runs.items()}
    return History(facts, source, working_set, sorted_runs, counts)
