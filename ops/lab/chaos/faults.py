"""The faults: planned by a seed, and made at our own appliance's processes only."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psutil

from ops.lab.load import Ledger
from ops.lab.trial_appliance import Appliance, TrialError
from shared.appliance.heartbeats import Heartbeats
from shared.jobs import keys
from shared.jobs.recovery import MAX_DEATHS, Blame, Recovery
from shared.jobs.store import JobStore
from shared.redis.connection import REDIS_AWAY, RedisClient

#: The whole appliance, supervisord too; after a kill it is started again on its DATA_DIR.
APPLIANCE = "appliance"
#: How often each program is struck, in parts of the sum.
PROGRAM_PARTS = {"worker-1": 30, "worker-2": 30, "api": 10, "redis": 14, "monitor": 10, APPLIANCE: 6}
#: How often each signal is sent, in parts of the sum. A stopped process is continued after a while.
SIGNAL_PARTS = {signal.SIGKILL: 60, signal.SIGSTOP: 20, signal.SIGTERM: 20}
#: Seconds before each fault, and for which a process is stopped: up to more than a worker's lease (10 s).
PAUSES, STOPS = (0.5, 5.0), (0.5, 14.0)
#: Seconds to wait for a program that is just being started again, and between two looks.
AWAIT_SECONDS, LOOK_SECONDS = 5.0, 0.05
#: Blame at which one more death would fail a job, and rightly.
LAST_LIFE = (MAX_DEATHS - 1) * Blame.DEATH


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, `pause` seconds after the last; a stop lasts `stop` seconds."""

    pause: float
    program: str
    signal: signal.Signals
    stop: float


def plan_faults(seed: int, seconds: float) -> list[Fault]:
    """Return the faults for some seconds: too many, if the appliance is slow to come back."""
    generator = random.Random(seed)  # noqa: S311  # repeatable on purpose
    plan: list[Fault] = []
    elapsed = 0.0
    while elapsed < seconds:
        pause = generator.uniform(*PAUSES)
        program = generator.choices(list(PROGRAM_PARTS), list(PROGRAM_PARTS.values()))[0]
        number = generator.choices(list(SIGNAL_PARTS), list(SIGNAL_PARTS.values()))[0]
        stop = generator.uniform(*STOPS)
        plan.append(Fault(pause, program, number, stop if number is signal.SIGSTOP else 0.0))
        elapsed += pause + plan[-1].stop
    return plan


@dataclass(slots=True)
class Injector:
    """One thread uses it, until the time is up."""

    appliance: Appliance
    redis: RedisClient
    store: JobStore
    ledger: Ledger
    time_up: threading.Event
    #: How many faults were made, by signal and program.
    struck: Counter[str] = field(default_factory=Counter)

    def run(self, plan: Sequence[Fault]) -> None:
        """Follow the plan. Raises TrialError if a restart fails."""
        for fault in plan:
            if self.time_up.wait(fault.pause):
                return
            if self._strike(fault):
                self.struck[f"{fault.signal.name} to {fault.program}"] += 1
            else:
                self.ledger.count("faults that were not made, see docs/verify.md")

    def _strike(self, fault: Fault) -> bool:
        """Make a fault; return whether it was made."""
        if fault.program == APPLIANCE:
            self._strike_all(fault)
            return True
        process = self._await_process(fault.program)
        if process is None:
            return False
        try:
            if fault.signal is signal.SIGSTOP:
                self._stop(fault, [process])
                return True
            process.suspend()  # so that it takes no other batch meanwhile
            spared = fault.signal is signal.SIGKILL and self._on_last_life(fault.program)
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
            self.time_up.wait(fault.stop)

    def _strike_all(self, fault: Fault) -> None:
        if fault.signal is signal.SIGSTOP:
            self._stop(fault, self.appliance.family())
            return
        try:
            end = self.appliance.kill if fault.signal is signal.SIGKILL else self.appliance.stop
            end()
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
