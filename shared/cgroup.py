"""The control group of this process, of version 1 or 2: its memory, limits and members."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.memory import PROC

#: Where cgroups are mounted.
CGROUPS = Path("/sys/fs/cgroup")
#: cgroup v1 expresses "no limit" as a number larger than any machine's memory.
NO_LIMIT = 2**60


@dataclass(frozen=True, slots=True)
class CgroupFiles:
    """The file names of one version of cgroups."""

    version: int
    usage: str
    limit: str
    inactive: str


V2 = CgroupFiles(2, "memory.current", "memory.max", "inactive_file")
V1 = CgroupFiles(1, "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file")


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A cgroup's folder and its memory limit in bytes, if there is one."""

    folder: Path
    files: CgroupFiles
    limit: int | None

    def working_set(self) -> int:
        """Return the bytes charged and not reclaimable. Raises OSError if the files are gone."""
        stat = (self.folder / "memory.stat").read_text(encoding="ascii")
        numbers = dict(line.split() for line in stat.splitlines())
        return max(0, _number(self.folder / self.files.usage) - int(numbers.get(self.files.inactive, 0)))

    def members(self) -> set[int]:
        """Return the processes in it and below it; 0 stands for invisible ones."""
        lists = sorted(self.folder.rglob("cgroup.procs"))
        return {int(pid) for file in lists for pid in file.read_text(encoding="ascii").split()}


@dataclass(frozen=True, slots=True)
class CpuQuota:
    """The CPU time that a cgroup may use, in CPUs."""

    version: int
    cpus: float


def find_cgroup(cgroups: Path = CGROUPS, proc: Path = PROC) -> Cgroup | None:
    """Return the memory cgroup of this process, of version 1 or 2, or None."""
    for folder, files in _candidates("memory", cgroups, proc):
        with contextlib.suppress(OSError, ValueError):
            _number(folder / files.usage)
            return Cgroup(folder, files, _limit(folder / files.limit))
    return None


def find_cpu_quota(cgroups: Path = CGROUPS, proc: Path = PROC) -> CpuQuota | None:
    """Return the CPU quota of this process's cgroup, or None."""
    for folder, files in _candidates("cpu", cgroups, proc):
        with contextlib.suppress(OSError, ValueError):
            cpus = _quota(folder, files.version)
            return None if cpus is None else CpuQuota(files.version, cpus)
    return None


@dataclass(frozen=True, slots=True)
class TaskLimit:
    """The processes and threads that a cgroup may have, and those that it has."""

    version: int
    most: int
    present: int


def find_task_limit(cgroups: Path = CGROUPS, proc: Path = PROC) -> TaskLimit | None:
    """Return the limit of this process's cgroup, or None."""
    for folder, files in _candidates("pids", cgroups, proc):
        with contextlib.suppress(OSError, ValueError):
            present, most = _number(folder / "pids.current"), _limit(folder / "pids.max")
            return None if most is None else TaskLimit(files.version, most, present)
    return None


def usable_processors(cgroups: Path = CGROUPS, proc: Path = PROC) -> int:
    """Return how many threads can run at a time, by the scheduler and the cgroup's CPU quota."""
    processors = len(os.sched_getaffinity(0))
    quota = find_cpu_quota(cgroups, proc)
    return processors if quota is None else max(1, min(processors, math.ceil(quota.cpus)))


def _candidates(controller: str, cgroups: Path, proc: Path) -> Iterator[tuple[Path, CgroupFiles]]:
    """Yield the folders that may be ours and their files, the most certain first.

    In a cgroup namespace, or if a container sees only its part of the hierarchy, ours is the mount's root, regardless of
    /proc/self/cgroup.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    entries = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    v1 = [path for _, controllers, path in entries if controller in controllers.split(",")]
    v2 = [path for number, controllers, path in entries if number == "0" and not controllers]
    # If both versions are mounted, a controller is in version 1 if it is listed there.
    for path in [*v1, "/"]:
        yield cgroups / controller / path.lstrip("/"), V1
    for path in [*v2, "/"]:
        yield cgroups / path.lstrip("/"), V2


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _limit(file: Path) -> int | None:
    text = file.read_text(encoding="ascii").strip()
    return None if text == "max" or int(text) >= NO_LIMIT else int(text)


def _quota(folder: Path, version: int) -> float | None:
    if version == 1:
        words = [(folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")]
    else:
        words = (folder / "cpu.max").read_text(encoding="ascii").split()
    return None if words[0] == "max" or int(words[0]) < 0 else int(words[0]) / int(words[1])
