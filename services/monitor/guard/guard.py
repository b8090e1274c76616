"""Keeps the appliance within its memory: recycles workers or the api, kills if necessary.

It also recycles a worker when an admin asks for that, since only the guard knows which of them are exiting already.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping

from services.monitor.events.programs import API, Programs
from services.monitor.guard.memory_decision import (
    WORTH_RECYCLING,
    ApiGrowth,
    Kill,
    NoAction,
    Outcome,
    Recycle,
    WorkerMemory,
    decide,
)
from services.monitor.guard.memory_gauge import MemoryGauge, MemoryState
from services.monitor.guard.process_table import send_signal
from shared import metrics
from shared.appliance.counters import Counters
from shared.metrics import RecycleReason
from shared.timing import TIMING, Timing

#: Seconds between two reports that the workers do not hold the memory.
UNRELIEVED_SECONDS = 60.0

logger = logging.getLogger(__name__)


class Guard:
    """One thread calls `step`; any thread may call `request_recycle`.

    `local_worker_pids` returns the process ids of this machine's workers that send heartbeats, by process name. `excuse`
    is told of a worker that is killed although it was no larger than it may be. Once `stopping` is set, nothing is done.
    """

    def __init__(
        self,
        gauge: MemoryGauge,
        programs: Programs,
        counters: Counters,
        local_worker_pids: Callable[[], Mapping[str, int]],
        excuse: Callable[[int], object],
        stopping: threading.Event,
        timing: Timing = TIMING,
    ) -> None:
        self._gauge = gauge
        self._marks = gauge.marks
        self._programs = programs
        self._counters = counters
        self._local_worker_pids = local_worker_pids
        self._excuse = excuse
        self._stopping = stopping
        self._timing = timing
        self._api_growth = ApiGrowth(timing)
        self._first_seen: dict[int, float] | None = None
        self._kill_pause = timing.kill_pause_seconds
        #: The worker that was asked to exit last, and when, until its successor is there.
        self._leaving: tuple[WorkerMemory, float] | None = None
        self._asked: set[int] = set()
        self._killed_at = self._told_at = float("-inf")
        self._requested = False

    @property
    def takes_requests(self) -> bool:
        """Whether a worker here could be recycled now, and none is exiting already."""
        busy = self._requested or self._stopping.is_set() or self._leaving
        return not busy and bool(self._programs.workers())

    def request_recycle(self) -> None:
        """Have the next step recycle a worker for an admin."""
        self._requested = True

    def step(self) -> None:
        """Measure, decide and act, once. Never touches Redis."""
        memory = self._gauge.measure()
        if self._stopping.is_set():
            return
        now = time.monotonic()
        outcome = decide(
            memory.working_set,
            self._marks,
            self._workers(memory, now),
            recycling=self._is_recycling(now),
            killing=now - self._killed_at < self._kill_pause,
            requested=self._requested,
        )
        self._act(outcome, memory, now)
        api_pss = memory.by_program.get(API, 0)
        if self._api_growth.is_restart_due(
            now,
            api_pss,
            memory.working_set,
            self._marks,
            workers_may_help=self._workers_may_help(outcome),
        ) and self._restart_api(memory, api_pss):
            self._api_growth.restarted(now)

    def _workers_may_help(self, outcome: Outcome) -> bool:
        """Return whether a worker is being replaced, so that memory may be freed."""
        match outcome:
            case Recycle() | NoAction.WAIT if self._leaving is not None:
                return True
            case Kill() | NoAction.WAIT:
                # Above the hard mark workers are killed even where that frees next to nothing: the api may be the cause.
                return self._kill_pause < self._timing.futile_kill_pause_seconds
        return False

    def _workers(self, memory: MemoryState, now: float) -> tuple[WorkerMemory, ...]:
        sizes = memory.by_pid
        running = {pid: name for name, pid in self._programs.workers().items()}
        self._asked &= running.keys()
        # The age of workers that started before this monitor is unknown: they count as old.
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
        worker, since = self._leaving
        successor = self._local_worker_pids().get(worker.name, worker.pid) != worker.pid
        if successor or now - since > self._timing.recycle_successor_seconds:
            self._leaving = None
        return self._leaving is not None

    def _act(self, outcome: Outcome, memory: MemoryState, now: float) -> None:
        match outcome:
            case Recycle(worker, reason):
                self._end(worker, signal.SIGTERM, reason, memory)
                self._leaving = worker, now
                self._asked.add(worker.pid)
                self._requested = self._requested and reason != RecycleReason.ADMIN
            case Kill(worker):
                if worker.pss <= self._marks.worker:
                    self._excuse(worker.pid)
                self._end(worker, signal.SIGKILL, RecycleReason.MEMORY_HARD, memory)
                self._killed_at = now
                self._kill_pause = (
                    self._timing.kill_pause_seconds
                    if worker.pss >= WORTH_RECYCLING
                    else self._timing.futile_kill_pause_seconds
                )
            case NoAction.UNRELIEVED if now - self._told_at >= UNRELIEVED_SECONDS:
                self._told_at = now
                self._counters.add(metrics.MEMORY_UNRELIEVED)
                sizes = sorted(memory.by_program.items())
                logger.warning(
                    "memory is at its limit, and no worker is large enough to matter",
                    extra={**self._sizes(memory), "programs": {name: size >> 20 for name, size in sizes}},
                )

    def _end(
        self, worker: WorkerMemory, number: signal.Signals, reason: RecycleReason, memory: MemoryState
    ) -> None:
        if not send_signal(worker.pid, number, self._gauge.supervisor_pid):
            return
        self._counters.add(metrics.WORKER_RECYCLES, reason)
        requested = reason == RecycleReason.ADMIN
        logger.log(
            logging.INFO if requested else logging.WARNING,
            "largest worker %s: %s",
            "recycled" if number == signal.SIGTERM else "killed",
            "an admin asked for it" if requested else "memory is at its limit",
            extra={"worker": worker.name, "worker_mb": worker.pss >> 20, **self._sizes(memory)},
        )

    def _restart_api(self, memory: MemoryState, pss: int) -> bool:
        """Ask the api to exit, and return whether it was asked.

        Its requests get two seconds to finish (services/api/http/server.py). Then supervisord starts it again.
        """
        pid = self._programs.pid_of(API)
        if pid is None or not send_signal(pid, signal.SIGTERM, self._gauge.supervisor_pid):
            return False
        self._counters.add(metrics.API_RECYCLES)
        logger.warning(
            "api restarted: it has grown, and memory is at its limit",
            extra={"api_mb": pss >> 20, "api_limit_mb": self._marks.api >> 20, **self._sizes(memory)},
        )
        return True

    def _sizes(self, memory: MemoryState) -> dict[str, int]:
        return {"mb": memory.working_set >> 20, "limit_mb": self._marks.soft >> 20}
