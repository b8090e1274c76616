"""Measures the appliance's memory, where the kernel decides whether to kill it.

A container is killed by its cgroup's account; page cache that the kernel can drop at will (`inactive_file`) does not count.
That account is used if it has a limit and is about us alone. Otherwise the PSS of our processes is added up.

Where supervisord is PID 1, the process namespace and the cgroup are the container's own, and the container is ours.
Other processes there (a health check, an opened shell) are charged to us, and the kernel kills us for them just as well.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from services.monitor.events.programs import Programs
from services.monitor.guard.memory_decision import Marks
from services.monitor.guard.process_table import is_descendant
from shared.cgroup import CGROUPS, Cgroup, find_cgroup
from shared.memory import PROC, process_pss_bytes

#: The first process of a container.
FIRST_PID = 1
#: The names under which supervisord is counted, and processes of ours that supervisord does not (yet) name.
SUPERVISOR, OTHER = "supervisord", "other"
#: Seconds between two measurings of all processes where the cgroup tells the working set, and the same while it is at its
#: soft mark.
MEASURE_SECONDS, PRESSED_MEASURE_SECONDS = 5.0, 0.4

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the working set is read: our cgroup, or (None) the PSS of our processes; and why."""

    cgroup: Cgroup | None
    reason: str


@dataclass(frozen=True, slots=True)
class MemoryState:
    """The appliance's memory as last measured, in bytes."""

    working_set: int
    #: The PSS by the programs' names (with all their children), and by process.
    by_program: Mapping[str, int]
    by_pid: Mapping[int, int]


def choose_source(supervisor_pid: int, cgroups: Path = CGROUPS, proc: Path = PROC) -> Source:
    """Decide where the working set is read. Called once, at the start."""
    cgroup = find_cgroup(cgroups, proc)
    if cgroup is None:
        return Source(None, "no memory cgroup can be read")
    if cgroup.limit is None:
        return Source(None, f"{cgroup.folder} sets no limit")
    if supervisor_pid != FIRST_PID and (objection := _objection(cgroup, supervisor_pid)):
        return Source(None, objection)
    return Source(cgroup, f"cgroup v{cgroup.files.version}, limit {cgroup.limit >> 20} MB")


def measure_processes(root: int, names: Mapping[int, str]) -> MemoryState:
    """Return the PSS of `root` (supervisord) and its descendants, added up.

    `names` are those of its children.
    """
    children: defaultdict[int | None, list[int]] = defaultdict(list)
    for process in psutil.process_iter(["ppid"]):  # None for a hidden process
        children[process.info["ppid"]].append(process.pid)
    by_pid: dict[int, int] = {}
    by_program = Counter[str]()
    waiting = [(root, SUPERVISOR)]
    while waiting:
        pid, program = waiting.pop()
        by_pid[pid] = process_pss_bytes(pid)
        by_program[program] += by_pid[pid]
        unnamed = OTHER if pid == root else program
        waiting += ((child, names.get(child, unnamed)) for child in children.pop(pid, ()))
    return MemoryState(by_program.total(), by_program, by_pid)


class MemoryGauge:
    """Measures memory and processes. One thread calls `measure`; any thread may read the rest."""

    def __init__(self, source: Source, marks: Marks, programs: Programs, supervisor_pid: int) -> None:
        self._source = source
        self._programs = programs
        self._measured_at = float("-inf")
        #: The bytes that the memory is held to.
        self.marks = marks
        #: The ancestor of all our processes.
        self.supervisor_pid = supervisor_pid
        #: Whether the working set is the sum of all processes' PSS, which takes some milliseconds to read.
        self.adds_up = source.cgroup is None
        #: The bytes at which the kernel kills; None where no cgroup is ours alone, or it sets no limit.
        self.container_limit = None if source.cgroup is None else source.cgroup.limit
        #: The last measurement; None before the first.
        self.state: MemoryState | None = None

    def measure(self) -> MemoryState:
        """Measure the working set, and each process when that is needed or due."""
        now = time.monotonic()
        working_set = self._cgroup_working_set()
        pressed = working_set is not None and working_set >= self.marks.soft
        due = PRESSED_MEASURE_SECONDS if pressed else MEASURE_SECONDS
        state = self.state
        if state is None or working_set is None or now - self._measured_at >= due:
            state = measure_processes(self.supervisor_pid, self._programs.names())
            self._measured_at = now
        self.state = state if working_set is None else replace(state, working_set=working_set)
        return self.state

    def _cgroup_working_set(self) -> int | None:
        if self._source.cgroup is None:
            return None
        try:
            return self._source.cgroup.working_set()
        except (OSError, ValueError) as fault:
            logger.warning("the cgroup cannot be read, so PSS is added up", extra={"cause": str(fault)})
            return None


def _objection(cgroup: Cgroup, supervisor_pid: int) -> str | None:
    """Say why a cgroup's account is not about the appliance alone; None if it is."""
    try:
        others = cgroup.members() - {FIRST_PID, supervisor_pid}
    except (OSError, ValueError) as fault:
        return f"the processes of {cgroup.folder} cannot be listed: {fault}"
    if foreign := [pid for pid in others if not is_descendant(pid, supervisor_pid)]:
        return f"{cgroup.folder} holds {len(foreign)} processes that are not the appliance's"
    return None
