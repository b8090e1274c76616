"""Carries the plan out: one fault after the other, at our own appliance's processes only."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil
from redis.exceptions import RedisError

from ops.lab.chaos.holdings import Hold, Holdings
from ops.lab.chaos.ledger import Finding, Ledger
from ops.lab.chaos.plan import Fault, Kind, Target
from ops.lab.chaos.processes import programs
from ops.lab.chaos.recovery import Watches
from ops.lab.trial_appliance import Appliance, TrialError

#: Seconds to wait for a program that is just being started again, and between two looks.
AWAIT_SECONDS, LOOK_SECONDS = 5.0, 0.05
SIGNALS = {Kind.KILL: signal.SIGKILL, Kind.STOP: signal.SIGSTOP, Kind.TERM: signal.SIGTERM}


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that was made, from when to when (monotonic)."""

    fault: Fault
    begun: float
    ended: float


class Injector:
    """One thread uses it."""

    def __init__(
        self,
        appliance: Appliance,
        holdings: Holdings,
        watches: Watches,
        ledger: Ledger,
        time_up: threading.Event,
    ) -> None:
        self._appliance = appliance
        self._holdings = holdings
        self._watches = watches
        self._ledger = ledger
        self._time_up = time_up
        #: The faults so far.
        self.struck: list[Struck] = []

    def run(self, plan: Sequence[Fault]) -> None:
        """Follow the plan until the time is up. Raises TrialError if a restart fails."""
        for fault in plan:
            if self._time_up.wait(fault.pause):
                return
            begun = time.monotonic()
            if self._strike(fault):
                self.struck.append(Struck(fault, begun, time.monotonic()))
            else:
                self._ledger.note("faults that were not made, see docs/operations.md")

    def _strike(self, fault: Fault) -> bool:
        """Make a fault; return whether it was made."""
        if fault.target is Target.APPLIANCE:
            self._strike_all(fault)
            return True
        process = self._await_process(fault.program)
        if process is None:
            return False
        try:
            if fault.kind is Kind.STOP:
                self._stop(fault, process)
                return True
            if fault.target is Target.WORKER:
                return self._end_worker(fault, process)
            self._end_service(fault, process)
        except psutil.NoSuchProcess:
            return False
        return True

    def _end_worker(self, fault: Fault, process: psutil.Process) -> bool:
        holds = self._freeze(fault, process)
        if holds is None:
            return False
        alone, since = self._watches.fault_begins(), time.monotonic()
        process.send_signal(SIGNALS[fault.kind])
        process.resume()
        if fault.kind is Kind.KILL:
            self._watches.batches("worker SIGKILL, until its batch runs again", holds, since, alone=alone)
        what = f"worker {fault.kind}, until its restart"
        self._watches.heartbeat(what, fault.program, process.pid, since, alone=alone)
        return True

    def _freeze(self, fault: Fault, process: psutil.Process) -> Sequence[Hold] | None:
        """Hold a worker still and return what it has in hand; None if it may not be killed now.

        A batch that has ended two workers must not be made to look as if it ended a third: its job would
        fail, and rightly.
        """
        process.suspend()
        try:
            heartbeat = self._holdings.heartbeat(fault.program)
            if heartbeat is None or heartbeat.pid != process.pid:
                return []  # it has just begun
            if fault.kind is Kind.KILL and self._holdings.on_last_life(heartbeat):
                process.resume()
                return None
            return self._holdings.held(heartbeat)
        except RedisError:
            process.resume()
            return None

    def _end_service(self, fault: Fault, process: psutil.Process) -> None:
        alone, since = self._watches.fault_begins(), time.monotonic()
        process.send_signal(SIGNALS[fault.kind])

        def again() -> bool:
            now = programs(self._appliance).get(fault.program)
            return now is not None and now.pid != process.pid

        self._watches.service(f"{fault.target} {fault.kind}", again, since, alone=alone)

    def _stop(self, fault: Fault, process: psutil.Process) -> None:
        alone = self._watches.fault_begins()
        with _suspended([process]):
            self._time_up.wait(fault.stop)
        self._watches.service(
            f"{fault.target} {fault.kind}, from its end", lambda: True, time.monotonic(), alone=alone
        )

    def _strike_all(self, fault: Fault) -> None:
        alone, since = self._watches.fault_begins(), time.monotonic()
        what = f"appliance {fault.kind}, with its restart"
        if fault.kind is Kind.STOP:
            with _suspended(self._appliance.family()):
                self._time_up.wait(fault.stop)
            what, since = f"appliance {fault.kind}, from its end", time.monotonic()
        else:
            self._end_all(fault.kind)
            self._appliance.start()
        self._watches.service(what, lambda: True, since, alone=alone)

    def _end_all(self, kind: Kind) -> None:
        if kind is Kind.KILL:
            self._appliance.kill()
            return
        try:
            self._appliance.stop()
        except TrialError as fault:
            self._ledger.find(Finding("unexpected", f"SIGTERM to the appliance: {fault}"))

    def _await_process(self, program: str) -> psutil.Process | None:
        deadline = time.monotonic() + AWAIT_SECONDS
        while (found := programs(self._appliance).get(program)) is None and time.monotonic() < deadline:
            if self._time_up.wait(LOOK_SECONDS):
                return None
        return found


@contextlib.contextmanager
def _suspended(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Stop processes, supervisord first, so that it misses none of its children."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
