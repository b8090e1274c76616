"""Gives back the batches of dead, hung and silent workers, and counts them by cause."""

from __future__ import annotations

import logging
import queue
import signal
import time
from collections.abc import Mapping

from services.monitor.events.listener import ExitReport
from services.monitor.events.programs import Programs
from services.monitor.guard.process_table import processor_wait, send_signal
from services.monitor.recovery.worker_exits import WorkerExits
from shared import metrics
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.jobs import keys
from shared.jobs.recovery import Recovery, Running
from shared.jobs.transitions import Release
from shared.log import log_context
from shared.metrics import RecoveryCause, RecycleReason
from shared.redis.connection import RedisClient
from shared.timing import TIMING, Timing

logger = logging.getLogger(__name__)


class Rescue:
    """One thread calls `step`; any thread may call `worker_exited`."""

    def __init__(
        self,
        connection: RedisClient,
        recovery: Recovery,
        counters: Counters,
        programs: Programs,
        exits: WorkerExits,
        batch_timeout_seconds: int,
        timing: Timing = TIMING,
    ) -> None:
        self._redis = connection
        self._heartbeats = Heartbeats(connection)
        self._recovery = recovery
        self._counters = counters
        self._programs = programs
        self._machine = exits.machine
        self._timeout = batch_timeout_seconds
        self._timing = timing
        self._exits = exits
        #: When each batch's claim was first seen, and how long its worker had waited for a processor then. Claims have times of
        #: their own, by a clock that may be set meanwhile.
        self._first_looks: dict[tuple[str, float], tuple[float, float]] = {}
        self._incoming: queue.SimpleQueue[ExitReport] = queue.SimpleQueue()
        self._reports: set[ExitReport] = set()
        self._lost_due = 0.0
        self._silent: dict[int, float] = {}
        self._last_look = float("-inf")
        self._settled_at = float("inf")

    def worker_exited(self, report: ExitReport) -> None:
        """Take supervisord's report into account in the next step."""
        self._incoming.put(report)

    def step(self) -> None:
        """Look for batches to give back, once.

        Raises what REDIS_AWAY lists, and ResponseError while Redis refuses writes, since then no worker can send a
        heartbeat. The next step then continues.
        """
        while not self._incoming.empty():
            self._reports.add(self._incoming.get())
        self._redis.delete(keys.NOTHING)  # a write: if Redis refuses it, no worker can send a heartbeat
        alive = self._withdraw_dead()
        afresh = self._notice_gap()
        holders: set[str] = set()
        for orphan in self._recovery.orphans(alive):
            holders.add(orphan.owner)
            settled = time.monotonic() >= self._settled_at
            if found := self._exits.exit_of_holder(orphan, alive, settled=settled):
                outcome = self._recovery.release(orphan, found.blame)
                with log_context(request=orphan.request, job=orphan.job_id, batch=orphan.batch):
                    self._count(found.cause, outcome)
        self._end_hung(alive)
        self._end_silent(alive)
        self._look_for_lost(at_once=self._machine.alone and (afresh or bool(self._reports)))
        self._note_crashes(holders)
        self._reports.clear()
        self._counters.flush()

    def _note_crashes(self, holders: set[str]) -> None:
        """Count the workers that ended unexpectedly without a batch.

        With a batch, its own deaths decide whether it is to blame: bad jobs must not look like broken workers.
        """
        for report in self._reports:
            worker = f"{self._machine.host}/{report.process_name}"
            if not (report.in_order or worker in holders or self._exits.stopping):
                self._counters.add(metrics.WORKER_CRASHES)
                self._programs.note_crash(worker)

    def _notice_gap(self) -> bool:
        """Measure silence anew if Redis was out of reach for a while; returns whether it was."""
        now = time.monotonic()
        gap = now - self._last_look > self._timing.redis_gap_seconds
        if gap:
            self._first_looks.clear()  # a worker that waited for Redis, as we did, does not hang
            self._settled_at = now + self._timing.settling_seconds
            self._silent.clear()
        self._last_look = now
        return gap

    def _look_for_lost(self, *, at_once: bool) -> None:
        now = time.monotonic()
        if not at_once and now < self._lost_due:
            return
        for job, batch in self._recovery.requeue_lost(at_once=at_once):
            with log_context(request=job.request, job=job.id, batch=batch):
                self._count(RecoveryCause.LOST, Release.REQUEUE)
        self._heartbeats.prune()
        self._lost_due = now + self._timing.lost_search_seconds

    def _withdraw_dead(self) -> dict[str, Heartbeat]:
        """Withdraw the heartbeats of this machine's exited workers; returns the others."""
        alive = self._heartbeats.alive()
        for heartbeat in self._exits.learn(alive, self._reports):
            self._heartbeats.withdraw(heartbeat.name, heartbeat.token)
            del alive[heartbeat.name]
        return alive

    def _end_hung(self, alive: Mapping[str, Heartbeat]) -> None:
        """Kill this machine's hung workers; supervisord reports their exit.

        On a small or throttled machine a batch of seconds may take minutes. Killing its worker for that would fail the
        batch as one that kills workers, so the time in which it waited for a processor does not count.
        """
        looks: dict[tuple[str, float], tuple[float, float]] = {}
        now = time.monotonic()
        for held in self._recovery.running():
            heartbeat = alive.get(held.owner) or self._exits.silent_worker(held.token)
            if heartbeat is None or (heartbeat.host, heartbeat.token) != (self._machine.host, held.token):
                continue
            claim, waited = (held.token, held.since), processor_wait(heartbeat.pid)
            since, waited_then = looks[claim] = self._first_looks.get(claim, (now, waited))
            worked = now - since - max(0.0, waited - waited_then)
            if worked > self._timeout and held.token not in self._exits.hung and self._kill(heartbeat.pid):
                self._expect_hung(held, now - since)
        self._first_looks = looks

    def _expect_hung(self, held: Running, seconds: float) -> None:
        self._exits.hung.add(held.token)
        with log_context(request=held.request, job=held.job_id, batch=held.batch):
            logger.error(
                "worker killed: its batch ran longer than BATCH_TIMEOUT_SECONDS",
                extra={"worker": held.owner, "seconds": round(seconds, 1)},
            )

    def _end_silent(self, alive: Mapping[str, Heartbeat]) -> None:
        """Kill this machine's workers without heartbeats: others have their batches already."""
        now = time.monotonic()
        beating = {heartbeat.pid for heartbeat in alive.values() if heartbeat.host == self._machine.host}
        silent = {pid: name for name, pid in self._programs.workers().items() if pid not in beating}
        self._silent = {pid: self._silent.get(pid, now) for pid in silent}
        for pid, since in list(self._silent.items()):
            if now - since > max(self._timeout, self._timing.silent_worker_seconds) and self._kill(pid):
                del self._silent[pid]
                self._counters.add(metrics.WORKER_RECYCLES, RecycleReason.SILENT)
                logger.error("worker killed: it sends no heartbeats", extra={"worker": silent[pid]})

    def _kill(self, pid: int) -> bool:
        return send_signal(pid, signal.SIGKILL, self._machine.supervisor_pid)

    def _count(self, cause: RecoveryCause, outcome: Release) -> None:
        if outcome is Release.REQUEUE:
            self._counters.add(metrics.BATCHES_RECOVERED, cause)
            logger.warning("batch runs again", extra={"cause": cause})
        else:
            logger.warning("batch given back", extra={"cause": cause, "outcome": outcome.value})
