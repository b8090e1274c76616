"""An appliance's memory: its working set by the kernel, and the PSS of each program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from ops.lab.trial_appliance import Appliance
from shared.cgroup import V1, Cgroup
from shared.memory import process_pss_bytes

#: Names of programs, by a word on their command line.
PROGRAM_WORDS = {"services.api": "api", "services.monitor": "monitor", "redis-server": "redis"}
#: On the command line of a process that is about to become a program.
PARENT_DEATH = "ops.run.parent_death"


@dataclass(frozen=True, slots=True)
class ProgramMemory:
    """One program's process and its PSS in bytes."""

    name: str
    pid: int
    pss: int


def programs_of(appliance: Appliance) -> list[ProgramMemory]:
    """Measure supervisord and all programs that it runs now."""
    found: list[ProgramMemory] = []
    for process in appliance.family():
        try:
            words = process.cmdline()
        except psutil.NoSuchProcess:
            continue
        name = "supervisord" if not found else _name(words)
        pss = process_pss_bytes(process.pid)
        if name and pss:
            found.append(ProgramMemory(name, process.pid, pss))
    return found


def _name(words: list[str]) -> str | None:
    if PARENT_DEATH in words:
        return None
    if "services.worker" in words:
        return words[-1]
    line = " ".join(words)
    return next((name for word, name in PROGRAM_WORDS.items() if word in line), None)


@dataclass(frozen=True, slots=True)
class MemoryAccount:
    """Where the working set of an appliance is read: its own cgroup, or its processes."""

    appliance: Appliance
    cgroup: Path | None

    @property
    def source(self) -> str:
        """Where it is read, in words."""
        return "cgroup" if self.cgroup else "sum of PSS"

    def working_set(self) -> int:
        """Return the bytes that the kernel charges less what it can drop; or the sum of PSS."""
        if self.cgroup is None:
            return sum(process_pss_bytes(process.pid) for process in self.appliance.family())
        return Cgroup(self.cgroup, V1, None).working_set()

    def marks(self) -> Mapping[str, int]:
        """Return the cgroup's counts: kills for lack of memory, and times at the limit."""
        if self.cgroup is None:
            return {}
        control = (self.cgroup / "memory.oom_control").read_text(encoding="ascii").split()
        kills = dict(zip(control[::2], control[1::2], strict=True)).get("oom_kill", "0")
        met = (self.cgroup / "memory.failcnt").read_text(encoding="ascii")
        most = (self.cgroup / "memory.max_usage_in_bytes").read_text(encoding="ascii")
        return {"oom_kills": int(kills), "limit_met": int(met), "most_charged_bytes": int(most)}
