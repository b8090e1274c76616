"""Carries the plan out: one fault after the other, at our own appliance's processes only."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psutil

from ops.lab.chaos.plan import Fault, Kind, Target
from ops.lab.load import Ledger
from ops.lab.trial_appliance import Appliance, TrialError
from shared.appliance.heartbeats import Heartbeats
from shared.jobs import keys
from shared.jobs.recovery import MAX_DEATHS, Blame, Recovery
from shared.jobs.store import JobStore
from shared.redis.connection import REDIS_AWAY, RedisClient

#: Seconds to wait for a program that is just being started again, and between two looks.
AWAIT_SECONDS, LOOK_SECONDS = 5.0, 0.05
SIGNALS = {Kind.KILL: signal.SIGKILL, Kind.TERM: signal.SIGTERM}
#: Blame at which one more death would fail a job, and rightly.
LAST_LIFE = (MAX_DEATHS - 1) * Blame.DEATH


@dataclass(slots=True)
class Injector:
    """One thread uses it, until the time is up."""

    appliance: Appliance
    redis: RedisClient
    store: JobStore
    ledger: Ledger
    time_up: threading.Event
    #: The faults so far.
    struck: list[Fault] = field(default_factory=list)

    def run(self, plan: Sequence[Fault]) -> None:
        """Follow the plan. Raises TrialError if a restart fails."""
        for fault in plan:
            if self.time_up.wait(fault.pause):
                return
            if self._strike(fault):
                self.struck.append(fault)
            else:
                self.ledger.count("faults that were not made, see docs/verify.md")

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
                self._stop(fault, [process])
                return True
            process.suspend()  # so that it takes no other batch meanwhile
            spared = fault.target is Target.WORKER and fault.kind is Kind.KILL and self._on_last_life(fault)
            if not spared:
                process.send_signal(SIGNALS[fault.kind])
            process.resume()
        except psutil.NoSuchProcess:
            return False
        return not spared

    def _on_last_life(self, fault: Fault) -> bool:
        """Return whether a worker may hold a batch that has ended two workers already.

        It must not be made to look as if it ended a third: its job would fail, and rightly.
        """
        try:
            host = self.appliance.settings().host_name_file.read_text(encoding="ascii").strip()
            heartbeat = Heartbeats(self.redis).alive().get(f"{host}/{fault.program}")
            running = Recovery(self.redis, self.store).running()
            held = [one for one in running if heartbeat and one.token == heartbeat.token]
            deaths = [self.redis.hget(keys.deaths(one.job_id), str(one.batch)) for one in held]
        except REDIS_AWAY:
            return True
        return any(int(count or 0) + Blame.DEATH > LAST_LIFE for count in deaths)

    def _stop(self, fault: Fault, processes: Sequence[psutil.Process]) -> None:
        with _suspended(processes):
            self.time_up.wait(fault.stop)

    def _strike_all(self, fault: Fault) -> None:
        if fault.kind is Kind.STOP:
            self._stop(fault, self.appliance.family())
            return
        if fault.kind is Kind.KILL:
            self.appliance.kill()
        else:
            try:
                self.appliance.stop()
            except TrialError as trouble:
                self.ledger.find("unexpected", f"SIGTERM to the appliance: {trouble}")
        self.appliance.start()

    def _await_process(self, program: str) -> psutil.Process | None:
        deadline = time.monotonic() + AWAIT_SECONDS
        while (found := self.appliance.programs().get(program)) is None and time.monotonic() < deadline:
            if self.time_up.wait(LOOK_SECONDS):
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
