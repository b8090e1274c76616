"""What the appliance's processes take, measured by the guard and looked at by everybody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.monitor.guard.process_table import family, read_parents
from shared.memory import PROC, process_pss_bytes

#: The name under which supervisord itself is counted.
SUPERVISOR = "supervisord"
#: The name for processes of ours that supervisord does not (yet) name.
OTHER = "other"


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """PSS in bytes: by the programs' names (with all their children), and by process."""

    by_program: Mapping[str, int] = field(default_factory=dict)
    by_pid: Mapping[int, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The PSS of all of them."""
        return sum(self.by_program.values())


@dataclass(frozen=True, slots=True)
class MemoryState:
    """The appliance's memory as last measured; `limit` is what the guard holds it to. All in bytes."""

    working_set: int
    limit: int
    processes: ProcessMemory


def measure_processes(root: int, names: Mapping[int, str], proc: Path = PROC) -> ProcessMemory:
    """Return the PSS of `root` (supervisord) and all its descendants; `names` names its children."""
    parents = read_parents(proc)
    by_pid = {pid: process_pss_bytes(pid, proc) for pid in sorted(family(root, parents))}
    by_program: Counter[str] = Counter()
    for pid, size in by_pid.items():
        by_program[_program_of(pid, root, parents, names)] += size
    return ProcessMemory(dict(by_program), by_pid)


def _program_of(pid: int, root: int, parents: Mapping[int, int], names: Mapping[int, str]) -> str:
    if pid == root:
        return SUPERVISOR
    while pid not in names and parents.get(pid, root) != root:
        pid = parents[pid]
    return names.get(pid, OTHER)
