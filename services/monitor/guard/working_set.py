"""Where the appliance's memory is read.

The kernel's own account of our cgroup is the truth that a container is killed by; page cache that it can
drop at will (`inactive_file`) is no reason to worry. It is used only where it is about us alone: with a
limit, and with no process in it that is not ours. Else the PSS of our processes is added up.

Where supervisord is PID 1, the process namespace and the cgroup are the container's own, and the container is
ours. Whatever else runs there just now (a health check, a shell that somebody opened) is charged like us, and
the kernel ends us for it just as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.monitor.guard.process_table import family, read_parents
from shared.cgroup import CGROUPS, Cgroup, find_cgroup
from shared.memory import PROC

#: The first process of a container.
FIRST_PID = 1


@dataclass(frozen=True, slots=True)
class Source:
    """Where the working set is read: our cgroup, or (None) the PSS of our processes; and why."""

    cgroup: Cgroup | None
    reason: str


def choose_source(supervisor_pid: int, cgroups: Path = CGROUPS, proc: Path = PROC) -> Source:
    """Decide where the working set is read. Made once, at the start."""
    cgroup = find_cgroup(cgroups, proc)
    if cgroup is None:
        return Source(None, "no memory cgroup can be read")
    if cgroup.limit is None:
        return Source(None, f"{cgroup.folder} sets no limit")
    if supervisor_pid != FIRST_PID and (objection := _objection(cgroup, supervisor_pid, proc)):
        return Source(None, objection)
    return Source(cgroup, f"cgroup v{cgroup.files.version}, limit {cgroup.limit >> 20} MB")


def _objection(cgroup: Cgroup, supervisor_pid: int, proc: Path) -> str | None:
    """Say why a cgroup's account is not about the appliance alone; None if it is."""
    try:
        foreign = cgroup.members() - family(supervisor_pid, read_parents(proc)) - {FIRST_PID}
    except (OSError, ValueError) as fault:
        return f"the processes of {cgroup.folder} cannot be listed: {fault}"
    if foreign:
        return f"{cgroup.folder} holds {len(foreign)} processes that are not the appliance's"
    return None
