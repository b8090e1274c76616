"""The memory sampler: working set of an appliance or container, PSS of programs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from ops.lab.trial_appliance import Appliance
from shared.cgroup import V1, Cgroup
from shared.memory import process_pss_bytes

#: Bytes of an MB.
MB = 2**20
#: Seconds between two looks for a peak.
LOOK_SECONDS = 0.2


@dataclass(slots=True)
class Peak:
    """The largest number of bytes that was seen."""

    highest: int = 0

    @property
    def highest_mb(self) -> float:
        """The peak in MB of 2**20 bytes."""
        return self.highest / MB


@contextmanager
def peak_of(measure: Callable[[], int]) -> Iterator[Peak]:
    """Watch, for instance, `box.working_set_bytes` while the block runs."""
    peak = Peak()

    def look() -> None:
        with contextlib.suppress(Exception):  # it is being restarted
            peak.highest = max(peak.highest, measure())

    with repeated(look, LOOK_SECONDS):
        yield peak


@contextmanager
def repeated(look: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call `look` in a thread of its own, again and again, while the block runs."""
    stopped = threading.Event()

    def go_on() -> None:
        look()
        while not stopped.wait(seconds):
            look()

    thread = threading.Thread(target=go_on, name="sampler", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def program_memory(appliance: Appliance) -> dict[tuple[str, int], int]:
    """Return the PSS of supervisord and of each program that it runs now, by name and pid."""
    programs = appliance.programs()
    if appliance.process is not None:
        programs["supervisord"] = psutil.Process(appliance.process.pid)
    found = {(name, one.pid): process_pss_bytes(one.pid) for name, one in programs.items()}
    return {key: pss for key, pss in found.items() if pss}


def working_set(appliance: Appliance) -> int:
    """Return what the kernel charges its cgroup less what it can drop; without one its PSS."""
    if appliance.cgroup is None:
        return sum(process_pss_bytes(process.pid) for process in appliance.family())
    return Cgroup(appliance.cgroup, V1, None).working_set()


def oom_kills(appliance: Appliance) -> int:
    """Return how many processes the kernel has killed for memory; 0 without a cgroup."""
    if appliance.cgroup is None:
        return 0
    control = (appliance.cgroup / "memory.oom_control").read_text(encoding="ascii").split()
    return int(dict(zip(control[::2], control[1::2], strict=True)).get("oom_kill", "0"))
