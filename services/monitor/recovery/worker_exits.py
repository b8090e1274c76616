"""How this machine's workers exited, which decides whether a batch is to blame.

supervisord's events report an exit at once, and whether it was in order. Without an event (the monitor was away, too) the
process table shows it; of a remote worker only the lease of its heartbeat does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from services.monitor.events.listener import ExitReport
from services.monitor.guard.process_table import is_running, is_stopped
from shared.appliance.heartbeats import Heartbeat
from shared.jobs.recovery import Blame, Running
from shared.metrics import RecoveryCause
from shared.timing import TIMING

#: How many exits are remembered.
REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Machine:
    """The local machine: only the processes of its workers can be inspected and killed."""

    host: str
    supervisor_pid: int
    #: Whether no other appliance's workers take batches from the same Redis.
    alone: bool = True


@dataclass(frozen=True, slots=True)
class Exit:
    """The cause of an exit, as batches_recovered_total's label, and whether to blame the batch."""

    cause: RecoveryCause
    blame: Blame


class WorkerExits:
    """One thread uses it, but any may call `excuse`. `stopping`: all programs are stopped."""

    def __init__(self, machine: Machine, stopping: threading.Event) -> None:
        #: The local machine.
        self.machine = machine
        #: The tokens of processes that are being killed because they hang.
        self.hung: set[str] = set()
        self._stopping = stopping
        self._running: dict[str, Heartbeat] = {}
        self._exits: dict[str, Exit] = {}
        self._gone_unreported: set[str] = set()
        self._excused: set[int] = set()
        self._left_remote: dict[str, float] = {}

    @property
    def stopping(self) -> bool:
        """Whether all programs are being stopped."""
        return self._stopping.is_set()

    def excuse(self, pid: int) -> None:
        """Note that this process is killed for a reason that is probably not its batch."""
        self._excused.add(pid)

    def learn(self, alive: Mapping[str, Heartbeat], reports: set[ExitReport]) -> list[Heartbeat]:
        """Note what is known now; return the heartbeats that exited workers have left behind."""
        for heartbeat in alive.values():
            if heartbeat.host == self.machine.host and heartbeat.token not in self._exits:
                self._running[heartbeat.token] = heartbeat
        for token, heartbeat in list(self._running.items()):
            if found := self._find_exit(heartbeat, reports):
                self._exits[token] = found
                del self._running[token]
                self._gone_unreported.discard(token)
        _forget_oldest(self._exits)
        return [heartbeat for heartbeat in alive.values() if heartbeat.token in self._exits]

    def exit_of_holder(
        self, orphan: Running, alive: Mapping[str, Heartbeat], *, settled: bool
    ) -> Exit | None:
        """Return how an orphan's holder exited; None while it may still run.

        `settled`: Redis has answered long enough for every running worker to have sent a heartbeat.
        """
        if found := self._exits.get(orphan.token):
            return found
        restarted = orphan.owner in alive
        ours = orphan.owner.rpartition("/")[0] == self.machine.host
        if restarted and ours:
            return Exit(RecoveryCause.WORKER_DIED, Blame.UNEXPLAINED)  # before this monitor's time
        if not settled or self.silent_worker(orphan.token):
            return None
        grace = TIMING.remote_restart_seconds if restarted else TIMING.remote_silent_seconds
        if not ours and not self._lingers(orphan, grace):
            return None
        return Exit(RecoveryCause.LEASE, Blame.UNEXPLAINED)

    def silent_worker(self, token: str) -> Heartbeat | None:
        """Return the last heartbeat of a silent worker of this machine that may be running.

        Native code that holds the GIL (shap's does) lets no thread send a heartbeat for as long as a batch takes. A
        stopped worker does not run, and a remote one cannot be inspected.
        """
        heartbeat = self._running.get(token)
        return None if heartbeat is None or is_stopped(heartbeat.pid) else heartbeat

    def _find_exit(self, heartbeat: Heartbeat, reports: set[ExitReport]) -> Exit | None:
        """Return how a worker of this machine exited, or None while it runs."""
        report = _report_of(heartbeat, reports)
        if report is None or report.pid is None:
            if is_running(heartbeat.pid):
                return None
            if report is None and heartbeat.token not in self._gone_unreported:
                # supervisord's report is about to come
                self._gone_unreported.add(heartbeat.token)
                return None
        if heartbeat.token in self.hung:
            self.hung.discard(heartbeat.token)
            return Exit(RecoveryCause.HUNG, Blame.DEATH)
        if self._stopping.is_set() or (report and report.in_order):
            return Exit(RecoveryCause.LEFT, Blame.NONE)
        excused = report is None or heartbeat.pid in self._excused
        self._excused.discard(heartbeat.pid)
        return Exit(RecoveryCause.WORKER_DIED, Blame.UNEXPLAINED if excused else Blame.DEATH)

    def _lingers(self, orphan: Running, seconds: float) -> bool:
        """Return whether a remote worker has left a batch for so long."""
        key = f"{orphan.job_id}:{orphan.batch}:{orphan.token}"
        since = self._left_remote.setdefault(key, time.monotonic())
        _forget_oldest(self._left_remote)
        return time.monotonic() - since > seconds


def _report_of(heartbeat: Heartbeat, reports: set[ExitReport]) -> ExitReport | None:
    """Return supervisord's report of a process's exit: with its id, or else without any.

    A process that dies within its startsecs is reported without its id. Another id is that of another process.
    """
    named = {r.pid: r for r in reports if r.process_name == heartbeat.name.rpartition("/")[2]}
    return named.get(heartbeat.pid, named.get(None))


def _forget_oldest[K, V](remembered: dict[K, V]) -> None:
    while len(remembered) > REMEMBERED:
        del remembered[next(iter(remembered))]
