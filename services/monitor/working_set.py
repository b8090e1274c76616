"""How much memory the appliance is charged, and where that is read.

The kernel's own account of our cgroup is the truth that a container is killed by; page cache that it can
drop at will (`inactive_file`) is no reason to worry. It is used only where it is about us alone: with a
limit, and with no process in it that is not ours. Else the PSS of our processes is added up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.monitor.process_table import PROC, family, read_parents

#: Where cgroups are mounted.
CGROUPS = Path("/sys/fs/cgroup")
#: cgroup v1 says "no limit" by a huge number; no machine has so many bytes.
NO_LIMIT = 2**60


@dataclass(frozen=True, slots=True)
class CgroupFiles:
    """The names that one version of cgroups has for the same things."""

    version: int
    usage: str
    limit: str
    inactive: str


V2 = CgroupFiles(2, "memory.current", "memory.max", "inactive_file")
V1 = CgroupFiles(1, "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file")


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A cgroup's folder; `limit` is None where none is set."""

    folder: Path
    files: CgroupFiles
    limit: int | None

    def working_set(self) -> int:
        """Return the bytes charged, less what the kernel can drop. Raises OSError if the files are gone."""
        stat = (self.folder / "memory.stat").read_text(encoding="ascii")
        numbers = dict(line.split() for line in stat.splitlines())
        return max(0, _number(self.folder / self.files.usage) - int(numbers.get(self.files.inactive, 0)))

    def members(self) -> set[int]:
        """Return the processes in it and below it; 0 stands for those that we cannot see."""
        lists = sorted(self.folder.rglob("cgroup.procs"))
        return {int(pid) for file in lists for pid in file.read_text(encoding="ascii").split()}


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
    try:
        foreign = cgroup.members() - family(supervisor_pid, read_parents(proc)) - {1}
    except (OSError, ValueError) as fault:
        return Source(None, f"the processes of {cgroup.folder} cannot be listed: {fault}")
    if foreign:
        return Source(None, f"{cgroup.folder} holds {len(foreign)} processes that are not the appliance's")
    return Source(cgroup, f"cgroup v{cgroup.files.version}, limit {cgroup.limit >> 20} MB")


def find_cgroup(cgroups: Path = CGROUPS, proc: Path = PROC) -> Cgroup | None:
    """Return the memory cgroup of this process, of version 1 or 2, or None."""
    for folder, files in _candidates(cgroups, proc):
        try:
            _number(folder / files.usage)
            limit = _limit(folder / files.limit)
        except (OSError, ValueError):
            continue
        return Cgroup(folder, files, limit)
    return None


def _candidates(cgroups: Path, proc: Path) -> Iterator[tuple[Path, CgroupFiles]]:
    """Yield the folders that may be ours, the surest first.

    With a cgroup namespace, and where a container sees only its own part of the hierarchy, the mount's root
    is ours, whatever /proc/self/cgroup says.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    entries = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    v1 = [path for _, controllers, path in entries if "memory" in controllers.split(",")]
    v2 = [path for number, controllers, path in entries if number == "0" and not controllers]
    # Where both are mounted, memory is accounted in version 1 if it is listed there.
    for path in [*v1, "/"]:
        yield cgroups / "memory" / path.lstrip("/"), V1
    for path in [*v2, "/"]:
        yield cgroups / path.lstrip("/"), V2


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _limit(file: Path) -> int | None:
    text = file.read_text(encoding="ascii").strip()
    return None if text == "max" or int(text) >= NO_LIMIT else int(text)
