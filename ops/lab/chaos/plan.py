"""Which faults, when, and for how long: planned by a seed."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass
from enum import StrEnum

#: The whole appliance, supervisord too; after a kill it is started again on its DATA_DIR.
APPLIANCE = "appliance"
#: How often each program is struck, in parts of the sum.
PROGRAM_PARTS = {"worker-1": 30, "worker-2": 30, "api": 10, "redis": 14, "monitor": 10, APPLIANCE: 6}
#: How often each signal is sent, in parts of the sum. A stopped process is continued after a while.
SIGNAL_PARTS = {signal.SIGKILL: 60, signal.SIGSTOP: 20, signal.SIGTERM: 20}
#: Seconds before each fault, and for which a process is stopped or a disk full: up to more than a worker's lease (10 s).
PAUSES, STOPS = (0.5, 5.0), (0.5, 14.0)
#: The share of faults that are followed by the next one only when their recovery was measured.
MEASURED = 0.5
#: Seconds that the clock may be off.
SHIFTS = (-3 * 3600, 0, 3 * 3600)


class Surrounding(StrEnum):
    """A fault of what surrounds the programs."""

    DISK = "no free byte on the disk"
    INODES = "no free inode on the disk"
    CLOCK = "the clock jumps"
    POWER = "power cut"
    FAILOVER = "Redis fails over"


#: How often each of them comes, in the same parts as PROGRAM_PARTS.
SURROUNDING_PARTS = {
    Surrounding.DISK: 8,
    Surrounding.INODES: 8,
    Surrounding.CLOCK: 10,
    Surrounding.POWER: 8,
    Surrounding.FAILOVER: 14,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, `pause` seconds after the last; it lasts `seconds`, 0 for a kill or a jump."""

    pause: float
    target: str
    signal: signal.Signals | None = None
    seconds: float = 0.0
    #: Seconds beside the right time that a clock jumps to.
    shift: int = 0
    measured: bool = False

    def __str__(self) -> str:
        return f"{self.signal.name} to {self.target}" if self.signal else self.target


def has_pair(seed: int) -> bool:
    """Return whether a pair of Redis servers that fail over replaces the embedded Redis.

    That one is killed, and loses power with the whole appliance, so every second seed has it.
    """
    return seed % 2 == 0


def plan_faults(seed: int, seconds: float) -> list[Fault]:
    """Return the faults for some seconds: too many, if the appliance is slow to come back."""
    generator = random.Random(seed)  # noqa: S311  # repeatable on purpose
    impossible = ("redis", Surrounding.POWER) if has_pair(seed) else (Surrounding.FAILOVER,)
    everything = [*PROGRAM_PARTS.items(), *SURROUNDING_PARTS.items()]
    parts = {target: share for target, share in everything if target not in impossible}
    plan: list[Fault] = []
    elapsed, shift = 0.0, 0
    while elapsed < seconds:
        pause = generator.uniform(*PAUSES)
        target = generator.choices(list(parts), list(parts.values()))[0]
        drawn = generator.choices(list(SIGNAL_PARTS), list(SIGNAL_PARTS.values()))[0]
        lasts = generator.uniform(*STOPS)
        measured = generator.random() < MEASURED
        number = None if target in SURROUNDING_PARTS else drawn
        is_blow = target in {Surrounding.CLOCK, Surrounding.POWER} or number in {
            signal.SIGKILL,
            signal.SIGTERM,
        }
        if target == Surrounding.CLOCK:
            shift = generator.choice([other for other in SHIFTS if other != shift])
        plan.append(Fault(pause, target, number, 0.0 if is_blow else lasts, shift, measured))
        elapsed += pause + plan[-1].seconds
    return plan
