"""Makes the faults of a plan: at our own appliance's processes, and at what surrounds them."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psutil

from ops.lab.chaos.plan import APPLIANCE, Fault, Surrounding
from ops.lab.chaos.recovery import RecoveryMeter
from ops.lab.chaos.surroundings import Surroundings
from ops.lab.load import Ledger
from ops.lab.trial_appliance import Appliance, TrialError
from shared.appliance.heartbeats import Heartbeats
from shared.jobs import keys
from shared.jobs.recovery import MAX_DEATHS, Blame, Recovery
from shared.jobs.store import JobStore
from shared.redis.connection import REDIS_AWAY, RedisClient

#: Seconds to wait for a program that is just being started again, and between two looks.
AWAIT_SECONDS, LOOK_SECONDS = 5.0, 0.05
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
    surroundings: Surroundings
    meter: RecoveryMeter
    #: How many faults were made, by kind.
    struck: Counter[str] = field(default_factory=Counter)
    #: The seconds of each start after everything was killed.
    starts: list[tuple[float, str]] = field(default_factory=list)

    def run(self, plan: Sequence[Fault]) -> None:
        """Follow the plan. Raises TrialError if a restart fails."""
        for fault in plan:
            if self.time_up.wait(fault.pause):
                return
            if fault.target in self.surroundings.missing:
                continue
            if self._strike(fault):
                self.struck[str(fault)] += 1
                if fault.measured:
                    self.meter.measure(str(fault))
            else:
                self.ledger.count("faults that were not made, see docs/verify.md")

    def _strike(self, fault: Fault) -> bool:
        """Make a fault, and return when it is over; return whether it was made."""
        if fault.signal is None:
            self._strike_surrounding(fault)
            return True
        if fault.target == APPLIANCE:
            self._strike_all(fault)
            return True
        process = self._await_process(fault.target)
        if process is None:
            return False
        try:
            if fault.signal is signal.SIGSTOP:
                self._stop(fault, [process])
                return True
            process.suspend()  # so that it takes no other batch meanwhile
            spared = fault.signal is signal.SIGKILL and self._on_last_life(fault.target)
            if not spared:
                process.send_signal(fault.signal)
            process.resume()
        except psutil.NoSuchProcess:
            return False
        return not spared

    def _on_last_life(self, program: str) -> bool:
        """Return whether a worker may hold a batch that has ended two workers already.

        It must not be made to look as if it ended a third: its job would fail, and rightly.
        """
        if not program.startswith("worker"):
            return False
        try:
            host = self.appliance.settings().host_name_file.read_text(encoding="ascii").strip()
            heartbeat = Heartbeats(self.redis).alive().get(f"{host}/{program}")
            running = Recovery(self.redis, self.store).running()
            held = [one for one in running if heartbeat and one.token == heartbeat.token]
            deaths = [self.redis.hget(keys.deaths(one.job_id), str(one.batch)) for one in held]
        except REDIS_AWAY:
            return True
        return any(int(count or 0) + Blame.DEATH > LAST_LIFE for count in deaths)

    def _stop(self, fault: Fault, processes: Sequence[psutil.Process]) -> None:
        with _suspended(processes):
            self.time_up.wait(fault.seconds)

    def _strike_all(self, fault: Fault) -> None:
        if fault.signal is signal.SIGSTOP:
            self._stop(fault, self.appliance.family())
            return
        try:
            end = self.appliance.kill if fault.signal is signal.SIGKILL else self.appliance.stop
            end()
        except TrialError as trouble:
            self.ledger.find("unexpected", f"SIGTERM to the appliance: {trouble}")
        self.starts.append((self.appliance.start(), str(fault)))

    def _strike_surrounding(self, fault: Fault) -> None:
        disk, clock, pair = self.surroundings.disk, self.surroundings.clock, self.surroundings.pair
        match fault.target:
            case Surrounding.DISK | Surrounding.INODES if disk:
                with disk.full() if fault.target == Surrounding.DISK else disk.without_inodes():
                    self.time_up.wait(fault.seconds)
            case Surrounding.POWER if disk:
                self.appliance.kill()  # first: no client is told anything after the cut
                disk.cut_power()
                self.starts.append((self.appliance.start(), str(fault)))
            case Surrounding.CLOCK if clock:
                clock.shift(fault.shift)
            case Surrounding.FAILOVER if pair:
                pair.fail_over()
                self.time_up.wait(fault.seconds)
                pair.follow()

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
