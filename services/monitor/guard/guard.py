"""Keeps the appliance within its memory: recycles the largest worker, or kills it when time runs out.

It also recycles one when an admin asks for that, as nobody else knows which of them are leaving already.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.monitor.events.programs import Programs
from services.monitor.guard.memory_decision import (
    WORTH_RECYCLING,
    Elsewhere,
    Kill,
    Marks,
    Outcome,
    Recycle,
    WorkerMemory,
    decide,
)
from services.monitor.guard.memory_reading import MemoryState, ProcessMemory, measure_processes
from services.monitor.guard.process_table import is_descendant
from services.monitor.guard.working_set import Source
from shared import metrics
from shared.appliance.counters import Counters
from shared.metrics import RecycleReason
from shared.timing import TIMING, Timing

#: Seconds between two reports that the memory is not the workers'.
ELSEWHERE_SECONDS = 60.0
#: Seconds between two measurings of all processes where the working set is known without them, and the
#: same while it is at its limit.
MEASURE_SECONDS, PRESSED_MEASURE_SECONDS = 5.0, 0.4

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Leaving:
    worker: WorkerMemory
    since: float


class Guard:
    """One thread calls `step`. `heartbeat_pids` tells the pids of this machine's workers whose heartbeats are lit."""

    def __init__(
        self,
        source: Source,
        marks: Marks,
        programs: Programs,
        counters: Counters,
        heartbeat_pids: Callable[[], Mapping[str, int]],
        supervisor_pid: int,
        timing: Timing = TIMING,
    ) -> None:
        self._timing = timing
        self._source = source
        self._marks = marks
        self._programs = programs
        self._counters = counters
        self._heartbeat_pids = heartbeat_pids
        self._supervisor = supervisor_pid
        self._first_seen: dict[int, float] | None = None
        self._kill_pause = self._timing.kill_pause_seconds
        self._leaving: _Leaving | None = None
        self._asked: set[int] = set()
        self._killed_at = self._told_at = self._measured_at = float("-inf")
        self._processes = ProcessMemory()
        #: What was measured last; None before the first step.
        self.state: MemoryState | None = None
        #: Told of each worker that is killed though it was no larger than it may be: the process id.
        self.excuse: Callable[[int], object] = id
        #: Whether everything is being stopped anyway.
        self.draining = False
        #: Whether an admin wants a fresh worker. Set by others; a step takes it back when it has asked one to leave.
        self.wished = False

    @property
    def marks(self) -> Marks:
        """The bytes that the memory is held to."""
        return self._marks

    @property
    def adds_up(self) -> bool:
        """Whether the working set is the sum of all processes' PSS, which takes some milliseconds to read."""
        return self._source.cgroup is None

    @property
    def container_limit(self) -> int | None:
        """The bytes at which the kernel kills; None where no cgroup is ours alone, or it sets no limit."""
        return None if self._source.cgroup is None else self._source.cgroup.limit

    @property
    def takes_wishes(self) -> bool:
        """Whether there is a worker here that could be recycled now: none is on its way already."""
        return not (self.wished or self.draining or self._leaving) and bool(self._programs.workers())

    def step(self) -> None:
        """Measure, decide and act, once. Never touches Redis."""
        now = time.monotonic()
        working_set = self._measure(now)
        self.state = MemoryState(working_set, self._marks.soft, self._processes)
        if self.draining:
            return
        outcome = decide(
            working_set,
            self._marks,
            self._workers(now),
            recycling=self._is_recycling(now),
            killing=now - self._killed_at < self._kill_pause,
            wished=self.wished,
        )
        self._act(outcome, working_set, now)

    def _measure(self, now: float) -> int:
        """Return the working set; measures each process when that is needed, and now and then."""
        working_set = self._cgroup_working_set()
        pressed = working_set is not None and working_set >= self._marks.soft
        due = PRESSED_MEASURE_SECONDS if pressed else MEASURE_SECONDS
        if working_set is None or now - self._measured_at >= due:
            self._processes = measure_processes(self._supervisor, self._programs.names())
            self._measured_at = now
        return self._processes.total if working_set is None else working_set

    def _cgroup_working_set(self) -> int | None:
        if self._source.cgroup is None:
            return None
        try:
            return self._source.cgroup.working_set()
        except (OSError, ValueError) as fault:
            logger.warning("the cgroup cannot be read, so PSS is added up", extra={"cause": str(fault)})
            return None

    def _workers(self, now: float) -> tuple[WorkerMemory, ...]:
        sizes = self._processes.by_pid
        running = {pid: name for name, pid in self._programs.workers().items()}
        self._asked &= running.keys()
        # How old those are that were there before this monitor, nobody knows: old enough.
        unseen = now if self._first_seen else now - self._timing.young_worker_seconds
        self._first_seen = {pid: (self._first_seen or {}).get(pid, unseen) for pid in running}
        return tuple(
            WorkerMemory(
                name,
                pid,
                sizes[pid],
                pid in self._asked,
                now - self._first_seen[pid] < self._timing.young_worker_seconds,
            )
            for pid, name in running.items()
            if pid in sizes
        )

    def _is_recycling(self, now: float) -> bool:
        if self._leaving is None:
            return False
        worker = self._leaving.worker
        successor = self._heartbeat_pids().get(worker.name, worker.pid) != worker.pid
        if successor or now - self._leaving.since > self._timing.recycle_successor_seconds:
            self._leaving = None
        return self._leaving is not None

    def _act(self, outcome: Outcome, working_set: int, now: float) -> None:
        match outcome:
            case Recycle(worker, reason):
                self._end(worker, signal.SIGTERM, reason, working_set)
                self._leaving = _Leaving(worker, now)
                self._asked.add(worker.pid)
                self.wished = self.wished and reason != RecycleReason.ADMIN
            case Kill(worker):
                if worker.pss <= self._marks.worker:
                    self.excuse(worker.pid)
                self._end(worker, signal.SIGKILL, RecycleReason.MEMORY_HARD, working_set)
                self._killed_at = now
                self._kill_pause = (
                    self._timing.kill_pause_seconds
                    if worker.pss >= WORTH_RECYCLING
                    else self._timing.futile_kill_pause_seconds
                )
            case Elsewhere() if now - self._told_at >= ELSEWHERE_SECONDS:
                self._told_at = now
                self._counters.add(metrics.MEMORY_UNRELIEVED)
                logger.warning(
                    "memory is at its limit, and no worker is large enough to matter",
                    extra={
                        "mb": working_set >> 20,
                        "limit_mb": self._marks.soft >> 20,
                        "programs": self._table(),
                    },
                )

    def _end(
        self, worker: WorkerMemory, number: signal.Signals, reason: RecycleReason, working_set: int
    ) -> None:
        if not is_descendant(worker.pid, self._supervisor):
            return
        with contextlib.suppress(ProcessLookupError):  # it left in this moment
            os.kill(worker.pid, number)
        self._counters.add(metrics.WORKER_RECYCLES, reason)
        logger.log(
            logging.INFO if reason == RecycleReason.ADMIN else logging.WARNING,
            "largest worker %s: %s",
            "recycled" if number == signal.SIGTERM else "killed",
            "an admin asked for it" if reason == RecycleReason.ADMIN else "memory is at its limit",
            extra={
                "worker": worker.name,
                "worker_mb": worker.pss >> 20,
                "mb": working_set >> 20,
                "limit_mb": self._marks.soft >> 20,
            },
        )

    def _table(self) -> dict[str, int]:
        return {name: size >> 20 for name, size in sorted(self._processes.by_program.items())}
