"""Gives the batches of dead, hung and silent workers back, and tells how many and why.

supervisord's events say at once that a worker has died; the process table says it a second later when an
event was missed; the lease of its beacon says it when the worker lived on another machine.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass

import redis

from services.monitor.process_table import is_descendant, parent_of
from services.monitor.programs import Programs
from shared.beacons import Beacon, Beacons
from shared.counters import Counters
from shared.jobs.recovery import Recovery, Running
from shared.log import log_context

#: Seconds between two looks for batches that got lost between a queue and a worker.
LOST_SECONDS = 5.0
#: Seconds without a look at Redis after which a worker's silence is counted afresh: it was away, too.
GAP_SECONDS = 5.0
#: Seconds that a worker may be silent at least, since it must start first.
LEAST_SILENCE = 30
#: How many ended lives of workers are remembered, to tell why their batches came back.
REMEMBERED = 1000

#: Why a batch is run again. All of them are exported from the start.
CAUSES = ("worker_died", "lease", "lost", "hung")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine at hand: only its workers' processes can be looked at and ended."""

    host: str
    supervisor_pid: int


class Rescue:
    """One thread calls `step`; any thread may call `worker_left`."""

    def __init__(
        self,
        connection: redis.Redis,
        recovery: Recovery,
        counters: Counters,
        programs: Programs,
        machine: Machine,
        batch_timeout_seconds: int,
    ) -> None:
        self._redis = connection
        self._beacons = Beacons(connection)
        self._recovery = recovery
        self._counters = counters
        self._programs = programs
        self._machine = machine
        self._timeout = batch_timeout_seconds
        self._reports: queue.SimpleQueue[tuple[str, int | None]] = queue.SimpleQueue()
        self._left: set[tuple[str, int | None]] = set()
        self._causes: dict[str, str] = {}
        self._lost_due = 0.0
        self._silent: dict[int, float] = {}
        self._last_look = 0.0

    def worker_left(self, process_name: str, pid: int | None) -> None:
        """Report that supervisord saw a worker's process end (`pid` if it said which)."""
        self._reports.put((process_name, pid))

    def step(self) -> None:
        """Look for batches to give back, once. Raises what REDIS_AWAY lists; nothing is forgotten by it."""
        while not self._reports.empty():
            self._left.add(self._reports.get())
        alive = self._put_out_dead()
        for orphan, outcome in self._recovery.release_orphans():
            self._tell(orphan, outcome.value, alive)
        self._end_hung(alive)
        self._end_silent(alive)
        now = time.monotonic()
        if self._left or now >= self._lost_due:
            for job_id, batch in self._recovery.requeue_lost(at_once=bool(self._left)):
                self._count("lost", job_id, batch, "requeue")
            self._lost_due = now + LOST_SECONDS
        self._left.clear()
        self._counters.flush()

    def _put_out_dead(self) -> dict[str, Beacon]:
        """Put out the beacons of this machine's dead workers; returns those that are left."""
        alive = self._beacons.alive()
        for name, beacon in list(alive.items()):
            if beacon.host == self._machine.host and self._is_dead(beacon):
                self._beacons.put_out(name, beacon.token)
                self._remember(beacon.token, "worker_died")
                del alive[name]
        return alive

    def _is_dead(self, beacon: Beacon) -> bool:
        """Return whether supervisord has reaped the process, or it has ended without a report."""
        # A report is of this very process only if the ids agree: the name's next life may have begun.
        return (beacon.name.rpartition("/")[2], beacon.pid) in self._left or parent_of(beacon.pid) is None

    def _end_hung(self, alive: Mapping[str, Beacon]) -> None:
        """Kill this machine's workers that have held a batch for too long; supervisord reports their end."""
        seconds, micros = self._redis.time()
        now = seconds + micros / 1e6
        for held in self._recovery.running():
            beacon = alive.get(held.owner)
            if beacon is None or beacon.token != held.token or self._causes.get(held.token) == "hung":
                continue
            if now - held.since > self._timeout and self._kill(beacon.host, beacon.pid):
                self._remember(held.token, "hung")
                with log_context(job=held.job_id, batch=held.batch):
                    logger.error(
                        "worker killed: its batch ran longer than BATCH_TIMEOUT_SECONDS",
                        extra={"worker": held.owner, "seconds": round(now - held.since, 1)},
                    )

    def _end_silent(self, alive: Mapping[str, Beacon]) -> None:
        """Kill this machine's workers that run and say nothing: their batches were given to others long ago."""
        now = time.monotonic()
        if now - self._last_look > GAP_SECONDS:
            self._silent.clear()
        self._last_look = now
        speaking = {beacon.pid for beacon in alive.values() if beacon.host == self._machine.host}
        silent = {pid: name for name, pid in self._programs.workers().items() if pid not in speaking}
        self._silent = {pid: self._silent.get(pid, now) for pid in silent}
        for pid, since in list(self._silent.items()):
            if now - since > max(self._timeout, LEAST_SILENCE) and self._kill(self._machine.host, pid):
                del self._silent[pid]
                self._counters.add("worker_recycles_total", "silent")
                logger.error("worker killed: it has not been heard of", extra={"worker": silent[pid]})

    def _kill(self, host: str, pid: int) -> bool:
        if host != self._machine.host or not is_descendant(pid, self._machine.supervisor_pid):
            return False
        os.kill(pid, signal.SIGKILL)
        return True

    def _tell(self, orphan: Running, outcome: str, alive: Mapping[str, Beacon]) -> None:
        # Another life of the same name means that the holder's is over, however it ended.
        restarted = orphan.owner in alive
        cause = self._causes.get(orphan.token, "worker_died" if restarted else "lease")
        self._count(cause, orphan.job_id, orphan.batch, outcome)

    def _count(self, cause: str, job_id: str, batch: int, outcome: str) -> None:
        with log_context(job=job_id, batch=batch):
            if outcome == "requeue":
                self._counters.add("batches_recovered_total", cause)
                logger.warning("batch runs again", extra={"cause": cause})
            else:
                logger.warning("batch given back", extra={"cause": cause, "outcome": outcome})

    def _remember(self, token: str, cause: str) -> None:
        self._causes.setdefault(token, cause)
        while len(self._causes) > REMEMBERED:
            del self._causes[next(iter(self._causes))]
