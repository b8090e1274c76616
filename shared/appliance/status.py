"""What the monitor last found out about the appliance: a small file that the api's health and live view read.

A file, because it must be readable when Redis is away, and without a call that could hang.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Self

import orjson

from shared.settings import Role
from shared.timing import TIMING

#: Bytes of the file, always: what is written over an older one then takes no room on the disk. One block of most
#: file systems, and more than all that 64 workers have to tell.
FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """One program: supervisord's word for its state, and its PSS in bytes; -1 if that is not known."""

    name: str
    state: str
    memory_bytes: int = -1


@dataclass(frozen=True, slots=True)
class ApplianceStatus:
    """The appliance at one moment. Durations are 0.0 while all is well."""

    #: When this was found out, in seconds since the epoch.
    written_at: float
    #: Seconds since Redis last answered.
    redis_down_seconds: float = 0.0
    #: Seconds since a worker last lived (any worker, on any machine); it stands still while Redis is away,
    #: since then nobody can know.
    no_worker_seconds: float = 0.0
    #: Seconds for which batches have waited, none was at work and none was taken, though workers live.
    standstill_seconds: float = 0.0
    #: Programs that supervisord has given up starting.
    fatal_programs: tuple[str, ...] = ()
    #: Whether supervisord is stopping everything.
    draining: bool = False
    workers_alive: int = 0
    #: Bytes that the disk under DATA_DIR has left; -1 if that could not be found out.
    storage_free_bytes: int = -1
    #: What the appliance's memory is charged, and how much it may be, in bytes.
    memory_working_set_bytes: int = 0
    memory_limit_bytes: int = 0
    #: What the kernel ends the container at; 0 where no limit is known to be ours.
    memory_container_bytes: int = 0
    #: Where the working set is read: "cgroup", or "processes", whose PSS is added up.
    memory_source: str = ""
    #: Every program that is meant to run on, and supervisord itself.
    programs: tuple[ProgramStatus, ...] = ()
    #: Bytes of all objects; -1 where nobody knows.
    storage_used_bytes: int = -1

    def age(self, now: float | None = None) -> float:
        """Return how many seconds ago this was written. The monitor writes it each second."""
        return max(0.0, (time.time() if now is None else now) - self.written_at)

    def needs_restart(self, role: Role) -> list[tuple[str, str]]:
        """Return what an appliance of this role cannot heal itself, as names and details; empty while there is hope."""
        if self.age() > TIMING.hopeless_seconds:
            return [("monitor", f"the monitor has not reported for {self.age():.0f} s")]
        causes = []
        if self.redis_down_seconds > TIMING.hopeless_seconds:
            causes.append(("redis", f"Redis has not answered for {self.redis_down_seconds:.0f} s"))
        if role is not Role.API:  # its workers are other containers, and a restart of this one is in vain
            causes += self._workers_need_restart()
        if self.fatal_programs:
            causes.append(("programs", f"supervisord has given up {', '.join(self.fatal_programs)}"))
        return causes

    def _workers_need_restart(self) -> list[tuple[str, str]]:
        causes = []
        if self.no_worker_seconds > TIMING.hopeless_seconds:
            causes.append(("workers", f"no worker has lived for {self.no_worker_seconds:.0f} s"))
        if self.standstill_seconds > TIMING.hopeless_seconds:
            stood = f"no worker has taken a batch for {self.standstill_seconds:.0f} s, and some wait"
            causes.append(("queue", stood))
        return causes

    def write(self, path: Path) -> None:
        """Replace the file, so that a reader finds the old or the new one, whole. Raises OSError.

        On a full disk the old file is written over: it has its size already.
        """
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        data = orjson.dumps(self._fields()).ljust(FILE_BYTES)
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

    def _fields(self) -> dict[str, Any]:
        programs = [astuple(program) for program in self.programs]
        return {**{field.name: getattr(self, field.name) for field in fields(self)}, "programs": programs}

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return what was written last, or None if there is no such file or it makes no sense.

        What only another version of Shapbox knows is left out, and what that one does not tell has its default.
        """
        try:
            found = orjson.loads(path.read_bytes())
            known = {field.name for field in fields(cls)}
            return cls(**{name: _READERS.get(name, _as_is)(found[name]) for name in found if name in known})
        except (OSError, ValueError, TypeError, KeyError):
            return None


def _as_is(value: Any) -> Any:
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "written_at": float,
    "fatal_programs": lambda names: tuple(str(name) for name in names),
    "programs": lambda programs: tuple(ProgramStatus(*program) for program in programs),
}
