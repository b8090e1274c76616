"""Watches memory and counters while the appliance works, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.verify.outcome import NO_ANSWER, FailedError
from ops.verify.scrape import Scrape
from ops.verify.target import Target

#: Seconds between two looks.
LOOK_SECONDS = 0.5
MB = 2**20
#: Why workers are recycled where memory is short.
MEMORY_REASONS = ("memory_soft", "memory_hard")


@dataclass(frozen=True, slots=True)
class MemorySample:
    """Bytes: what is charged, at how much a worker is recycled, and what each process takes."""

    working_set: float
    limit: float
    processes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Watched:
    """The metrics from the first look to the last."""

    peak: MemorySample | None
    looks: int
    missed: int
    grown: Mapping[str, float]
    fallen: tuple[str, ...]

    def memory_recycles(self) -> dict[str, int]:
        """Return how often memory had to be seen to meanwhile, by how."""
        names = {f"worker_recycles_total{{reason={reason}}}": reason for reason in MEMORY_REASONS}
        names["memory_unrelieved_total"] = "memory_unrelieved"
        return {said: round(self.grown[name]) for name, said in names.items() if self.grown.get(name)}


class Watch:
    """Looks at the metrics from `start` to `stop`; results are available at any time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._peak: MemorySample | None = None
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._fallen: list[str] = []
        self._looks = self._missed = 0

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more. May be called again, and without a start."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def seen(self) -> Watched:
        """Return what was seen so far."""
        with self._lock:
            grown = {name: value - self._first.get(name, 0.0) for name, value in self._last.items()}
            return Watched(self._peak, self._looks, self._missed, grown, tuple(self._fallen))

    def look(self) -> None:
        """Look once."""
        try:
            scrape = self._target.scrape()
        except (FailedError, *NO_ANSWER):
            with self._lock:
                self._missed += 1
            return
        with self._lock:
            self._take(scrape)

    def _look_on(self) -> None:
        self.look()
        while not self._stopping.wait(LOOK_SECONDS):
            self.look()

    def _take(self, scrape: Scrape) -> None:
        self._looks += 1
        working_set, limit = scrape.value("memory_working_set_bytes"), scrape.value("memory_limit_bytes")
        if working_set and limit and (self._peak is None or working_set > self._peak.working_set):
            self._peak = MemorySample(working_set, limit, scrape.by("process_memory_bytes", "process"))
        counters = scrape.counters()
        self._fallen += [name for name, value in counters.items() if value < self._last.get(name, 0.0)]
        # A metric that was not there before has grown from 0.
        self._first = {**dict.fromkeys(counters, 0.0), **self._first} if self._first else counters
        self._last = {**self._last, **counters}
