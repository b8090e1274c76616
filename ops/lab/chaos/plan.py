"""The plan of faults: which, at whom and when, all decided by the seed in advance."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

#: Workers of the appliance that is struck.
WORKERS = 2


class Target(StrEnum):
    """Which processes a fault meets."""

    WORKER = "worker"
    API = "api"
    REDIS = "redis"
    MONITOR = "monitor"
    #: All of them at once, supervisord too; after a kill it is started again on its DATA_DIR.
    APPLIANCE = "appliance"


class Kind(StrEnum):
    """Kinds of faults, by signal. A stopped process is continued after a while."""

    KILL = "SIGKILL"
    STOP = "SIGSTOP"
    TERM = "SIGTERM"


#: How often each is chosen, in parts of the sum.
TARGET_PARTS = {
    Target.WORKER: 60,
    Target.API: 10,
    Target.REDIS: 14,
    Target.MONITOR: 10,
    Target.APPLIANCE: 6,
}
KIND_PARTS = {Kind.KILL: 60, Kind.STOP: 20, Kind.TERM: 20}
#: Seconds before each fault, and for which a process is stopped: up to more than a worker's lease (10 s).
PAUSES, STOPS = (0.5, 5.0), (0.5, 14.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, `pause` seconds after the last; a stop lasts `stop` seconds. Workers from 1."""

    number: int
    pause: float
    target: Target
    kind: Kind
    worker: int
    stop: float

    @property
    def program(self) -> str:
        """Whom it meets, by supervisord's name for it, or `appliance`."""
        return f"worker-{self.worker}" if self.target is Target.WORKER else self.target.value

    def __str__(self) -> str:
        length = f" for {self.stop:.1f} s" if self.stop else ""
        return f"{self.number:>3}. after {self.pause:.1f} s: {self.kind} to {self.program}{length}"


def plan_faults(seed: int, seconds: float) -> list[Fault]:
    """Return the faults for some seconds: too many, if the appliance is slow to come back."""
    generator = random.Random(seed)  # noqa: S311  # repeatable on purpose
    plan: list[Fault] = []
    elapsed = 0.0
    while elapsed < seconds:
        pause = generator.uniform(*PAUSES)
        target = generator.choices(list(TARGET_PARTS), list(TARGET_PARTS.values()))[0]
        kind = generator.choices(list(KIND_PARTS), list(KIND_PARTS.values()))[0]
        worker, stop = generator.randint(1, WORKERS), generator.uniform(*STOPS)
        plan.append(Fault(len(plan) + 1, pause, target, kind, worker, stop if kind is Kind.STOP else 0.0))
        elapsed += pause + plan[-1].stop
    return plan
