"""The monitor's last report on the appliance: a small file that the api reads.

A file can be read while Redis is away, and without a call that could hang.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Self

import orjson

from shared.settings import Role
from shared.timing import TIMING

#: The file's constant size, so that overwriting it takes no space on the disk: one block of most file systems, and more
#: than the report of 64 workers.
FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """A program's state, as supervisord names it, and its PSS in bytes (-1: unknown)."""

    name: str
    state: str
    memory_bytes: int = -1


@dataclass(frozen=True, slots=True)
class ApplianceStatus:
    """The appliance at one moment. Durations are 0.0 while all is well; unknown sizes -1."""

    #: In seconds since the epoch.
    written_at: float
    #: Seconds since Redis last answered.
    redis_down_seconds: float = 0.0
    #: Seconds without any live worker, on any machine, other than those that crash again and again. Not counted while
    #: Redis is away, since then it is unknown.
    no_worker_seconds: float = 0.0
    #: Seconds in which batches waited and none was running or taken, although workers are alive.
    standstill_seconds: float = 0.0
    #: Seconds in which batches waited or ran and none ended, if that is too long.
    stalled_seconds: float = 0.0
    #: The workers of this machine that crash again and again without a batch, as HOST/NAME.
    crashing_workers: tuple[str, ...] = ()
    #: Programs other than workers that end again and again.
    restarting_programs: tuple[str, ...] = ()
    #: Programs that supervisord has given up starting.
    fatal_programs: tuple[str, ...] = ()
    #: Whether supervisord is stopping everything.
    draining: bool = False
    #: The memory that the appliance uses and may use, in bytes.
    memory_working_set_bytes: int = 0
    memory_limit_bytes: int = 0
    #: Where the kernel kills the container; 0 if no limit is known to be ours.
    memory_container_bytes: int = 0
    #: Where the working set is measured: "cgroup", or "processes" (the sum of their PSS).
    memory_source: str = ""
    #: Every program that is meant to keep running, and supervisord itself.
    programs: tuple[ProgramStatus, ...] = ()
    #: Bytes of all objects.
    storage_used_bytes: int = -1

    def age(self, now: float | None = None) -> float:
        """Return its age in seconds. The monitor writes it every second."""
        return max(0.0, (time.time() if now is None else now) - self.written_at)

    def needs_restart(self, role: Role) -> list[tuple[str, str]]:
        """Return the faults (name and detail) that only a restart repairs in this role."""
        if self.age() > TIMING.hopeless_seconds:
            return [("monitor", f"The monitor has not reported for {self.age():.0f} s.")]
        lasting = [("redis", self.redis_down_seconds, "Redis has not answered")]
        if role is not Role.API:  # its workers are other containers: restarting this one does not help
            lasting += [
                ("workers", self.no_worker_seconds, "No worker has been able to work"),
                ("queue", self.standstill_seconds, "Batches are waiting, and no worker has taken one"),
            ]
        causes = [
            (name, f"{what} for {seconds:.0f} s.")
            for name, seconds, what in lasting
            if seconds > TIMING.hopeless_seconds
        ]
        if self.fatal_programs:
            programs = ", ".join(self.fatal_programs)
            causes.append(("programs", f"supervisord has given up starting {programs}."))
        return causes

    def write(self, path: Path) -> None:
        """Replace the file atomically. Raises OSError.

        On a full disk the old file is overwritten instead, which takes no space.
        """
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        programs = [astuple(program) for program in self.programs]
        data = orjson.dumps(asdict(self) | {"programs": programs}).ljust(FILE_BYTES)
        try:
            fresh.write_bytes(data)
            fresh.replace(path)
        except OSError as fault:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            if fault.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            with path.open("r+b", buffering=0) as file:
                file.write(data)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the last report, or None if there is no valid file.

        Unknown members, from another version of Shapbox, are dropped; missing ones have their defaults.
        """
        try:
            found = orjson.loads(path.read_bytes())
            values = {one.name: found[one.name] for one in fields(cls) if one.name in found}
            values["written_at"] = float(values["written_at"])
            for name in ("fatal_programs", "crashing_workers", "restarting_programs"):
                values[name] = tuple(values.get(name, ()))
            values["programs"] = tuple(ProgramStatus(*program) for program in values.get("programs", ()))
            return cls(**values)
        except (OSError, ValueError, TypeError, KeyError):
            return None
