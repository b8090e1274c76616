"""What the monitor knows of each worker's life, and how it ended: that decides whether a batch is to blame.

supervisord's events say at once that a worker's process has ended, and whether that was in order. Without
an event (the monitor was away, too) the process table says it; of another machine's worker only the lease
of its heartbeat does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from services.monitor.guard.process_table import is_stopped, parent_of
from shared.appliance.heartbeats import Heartbeat
from shared.jobs.recovery import Blame, Running
from shared.metrics import RecoveryCause
from shared.timing import TIMING, Timing

#: How many ended lives are remembered.
REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine at hand: only its workers' processes can be looked at and ended."""

    host: str
    supervisor_pid: int
    #: Whether no other appliance's workers take batches from the same Redis.
    alone: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """supervisord saw a worker's process end (`pid` if it said which), in order or not."""

    process_name: str
    pid: int | None
    in_order: bool


@dataclass(frozen=True, slots=True)
class End:
    """Why a life ended, as batches_recovered_total's label, and what that says against the batch in hand."""

    cause: RecoveryCause
    blame: Blame


class WorkerLives:
    """One thread uses it; only `excuse` and `draining` may be touched by others."""

    def __init__(self, machine: Machine, timing: Timing = TIMING) -> None:
        self._machine = machine
        self._timing = timing
        self._living: dict[str, Heartbeat] = {}
        self._ends: dict[str, End] = {}
        self._causes: dict[str, End] = {}
        self._gone_unreported: set[str] = set()
        self._excused: set[int] = set()
        self._left_elsewhere: dict[str, float] = {}
        #: Whether everything is being stopped: whoever ends now was told to.
        self.draining = False

    def excuse(self, pid: int) -> None:
        """Say that this process is killed for a reason that is probably not its batch's."""
        self._excused.add(pid)

    def expect(self, token: str, end: End) -> None:
        """Say why a life is about to end: it is being killed."""
        self._causes.setdefault(token, end)
        _forget_oldest(self._causes)

    def is_expected(self, token: str) -> bool:
        """Return whether a life is being killed."""
        return token in self._causes

    def learn(self, alive: Mapping[str, Heartbeat], reports: set[Report]) -> list[Heartbeat]:
        """Take in what is known now; returns this machine's dead whose heartbeats are still lit."""
        for heartbeat in alive.values():
            if heartbeat.host == self._machine.host and heartbeat.token not in self._ends:
                self._living[heartbeat.token] = heartbeat
        for token, heartbeat in list(self._living.items()):
            if end := self._end(heartbeat, reports):
                self._ends[token] = end
                del self._living[token]
                self._gone_unreported.discard(token)
        _forget_oldest(self._ends)
        return [heartbeat for heartbeat in alive.values() if heartbeat.token in self._ends]

    def end_of_holder(self, orphan: Running, alive: Mapping[str, Heartbeat], *, settled: bool) -> End | None:
        """Return how an orphan's holder ended; None while it may live.

        `settled`: Redis has answered long enough for every living worker to have lit its heartbeat.
        """
        if end := self._ends.get(orphan.token):
            return end
        restarted = orphan.owner in alive
        ours = orphan.owner.rpartition("/")[0] == self._machine.host
        if restarted and ours:
            return End(RecoveryCause.WORKER_DIED, Blame.UNEXPLAINED)  # before this monitor's time
        if not settled or self.silent_worker(orphan.token):
            return None
        timing = self._timing
        grace = timing.remote_restart_seconds if restarted else timing.remote_silent_seconds
        if not ours and not self._lingers(orphan, grace):
            return None
        return End(RecoveryCause.LEASE, Blame.UNEXPLAINED)

    def silent_worker(self, token: str) -> Heartbeat | None:
        """Return the heartbeat that a worker of this machine lit before it fell silent, if it may be at work all the same.

        Native code that holds the GIL lets no thread beat (shap's does), for as long as a batch takes. Such a worker
        is alive and runs. One that is stopped does not, and one of another machine cannot be looked at.
        """
        heartbeat = self._living.get(token)
        return None if heartbeat is None or is_stopped(heartbeat.pid) else heartbeat

    def _end(self, heartbeat: Heartbeat, reports: set[Report]) -> End | None:
        """Return how a life of this machine ended, or None while it goes on."""
        report = _report_of(heartbeat, reports)
        if report is None or report.pid is None:
            if parent_of(heartbeat.pid) is not None:
                return None
            if report is None and heartbeat.token not in self._gone_unreported:
                # supervisord's report is about to come
                self._gone_unreported.add(heartbeat.token)
                return None
        if cause := self._causes.get(heartbeat.token):
            return cause
        if self.draining or (report and report.in_order):
            return End(RecoveryCause.LEFT, Blame.NONE)
        excused = report is None or heartbeat.pid in self._excused
        self._excused.discard(heartbeat.pid)
        return End(RecoveryCause.WORKER_DIED, Blame.UNEXPLAINED if excused else Blame.DEATH)

    def _lingers(self, orphan: Running, seconds: float) -> bool:
        """Return whether a batch of another appliance's has been left by its holder for so long."""
        key = f"{orphan.job_id}:{orphan.batch}:{orphan.token}"
        since = self._left_elsewhere.setdefault(key, time.monotonic())
        _forget_oldest(self._left_elsewhere)
        return time.monotonic() - since > seconds


def _report_of(heartbeat: Heartbeat, reports: set[Report]) -> Report | None:
    """Return supervisord's report of a process's end: the one with its id, or else one without any.

    A process that dies within its startsecs is reported without its id. With another id it is of another life.
    """
    named = {r.pid: r for r in reports if r.process_name == heartbeat.name.rpartition("/")[2]}
    return named.get(heartbeat.pid, named.get(None))


def _forget_oldest[K, V](remembered: dict[K, V]) -> None:
    while len(remembered) > REMEMBERED:
        del remembered[next(iter(remembered))]
