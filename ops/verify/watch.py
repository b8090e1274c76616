"""Watches memory and counters while the appliance works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ops.lab.memory import MB, repeated
from ops.verify.appliance import Appliance, Scrape
from ops.verify.report import FailedError
from shapbox import NoAnswerError

#: Seconds between two looks, and processes that are named where memory is short.
LOOK_SECONDS, LARGEST = 0.5, 4
#: Counters that say that memory had to be seen to.
RELIEF = (
    "worker_recycles_total{reason=memory_soft}",
    "worker_recycles_total{reason=memory_hard}",
    "memory_unrelieved_total",
)
#: Counters of batches that run again since a worker did not leave in order.
DEATHS = tuple(f"batches_recovered_total{{cause={cause}}}" for cause in ("worker_died", "hung", "lease"))
_MEMORY_REMEDY = (
    "The largest processes are named. A worker is recycled by itself; if another one has grown, restart the service and "
    "see its log. A smaller WORKERS or a larger plan (and MEMORY_LIMIT_MB) gives room."
)
RESTART_REMEDY = (
    "The appliance's log of that time says why; on Render also the dashboard's Events and Metrics."
)


@dataclass(slots=True)
class Seen:
    """The metrics from the first look to the last.

    `peak` is the highest working set; `limit` and `processes` are its limit and the processes then, all in bytes.
    """

    peak: float = 0.0
    limit: float = 0.0
    processes: dict[str, float] = field(default_factory=dict)
    looks: int = 0
    first: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    fallen: set[str] = field(default_factory=set)

    def take(self, scrape: Scrape) -> None:
        """Take note of one reading."""
        self.looks += 1
        working_set = scrape.get("memory_working_set_bytes", 0.0)
        if working_set > self.peak:
            self.peak, self.limit = working_set, scrape.get("memory_limit_bytes", 0.0)
            self.processes = scrape.by("process_memory_bytes", "process")
        counters = scrape.counters()
        self.fallen |= {name for name, value in counters.items() if value < self.last.get(name, 0.0)}
        # A metric that was not there before has grown from 0.
        self.first = {**dict.fromkeys(counters, 0.0), **self.first} if self.first else counters
        self.last |= counters

    def grown(self, names: tuple[str, ...]) -> str:
        """Return which of these counters have grown, and by how much."""
        counts = {name: round(self.last.get(name, 0.0) - self.first.get(name, 0.0)) for name in names}
        return ", ".join(f"{name} {count}" for name, count in counts.items() if count)

    def judge_memory(self) -> str:
        """Return what the memory came to. Raises FailedError if that was too much."""
        if not self.peak:
            remedy = "The monitor measures it: see its lines in the appliance's log."
            raise FailedError(f"/metrics told no memory in {self.looks} looks.", remedy)
        measured = f"peak {self.peak / MB:.0f} of {self.limit / MB:.0f} MB in {self.looks} looks"
        acted = self.grown(RELIEF)
        if self.peak >= self.limit:
            sizes = sorted(self.processes.items(), key=lambda item: -item[1])[:LARGEST]
            largest = ", ".join(f"{name} {size / MB:.0f} MB" for name, size in sizes)
            reached = f"came to {self.peak / MB:.0f} MB, and the limit is {self.limit / MB:.0f} MB"
            detail = f"The working set {reached}. Largest: {largest}. The monitor acted: {acted or 'no'}."
            raise FailedError(detail, _MEMORY_REMEDY, measured)
        if acted:
            detail = f"Memory was short meanwhile, though no look saw it: the monitor had to act ({acted})."
            raise FailedError(detail, _MEMORY_REMEDY, measured)
        return measured

    def judge_restarts(self) -> None:
        """Raise FailedError if counters fell or a worker died: something was restarted."""
        if self.fallen:
            some = ", ".join(sorted(self.fallen)[:3])
            remedy = "Give the service a disk on DATA_DIR, or a REDIS_URL that all instances share. "
            raise FailedError(
                f"Counters fell ({some}): the service was started again without its data, or two of them answer.",
                remedy + RESTART_REMEDY,
            )
        if died := self.grown(DEATHS):
            detail = f"Workers did not leave in order, and their batches ran again ({died})."
            raise FailedError(detail, RESTART_REMEDY)


@contextmanager
def watched(appliance: Appliance, seen: Seen) -> Iterator[None]:
    """Look at the metrics again and again while the block runs."""

    def look() -> None:
        try:
            seen.take(appliance.scrape())
        except (FailedError, NoAnswerError):
            return

    with repeated(look, LOOK_SECONDS):
        yield
