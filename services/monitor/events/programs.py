"""The states of supervisord's programs, from its events and its list."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: supervisord's name for the group of all workers.
WORKER_GROUP = "worker"
#: The api's group and name.
API = "api"
#: Programs that run once and exit: they do not count as down.
ONE_SHOTS = frozenset({"announce"})
#: The state of a program that supervisord no longer restarts.
FATAL = "FATAL"
#: States in which a program has a process.
LIVE_STATES = frozenset({"STARTING", "RUNNING", "STOPPING"})


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process; `pid` is None while it has none, or while that is unknown."""

    group: str
    name: str
    state: str
    pid: int | None = None


class Programs:
    """All supervised processes, as last reported. Safe for several threads."""

    def __init__(self, own_pid: int | None = None) -> None:
        self._own_pid = os.getpid() if own_pid is None else own_pid
        self._lock = threading.Lock()
        self._programs: dict[tuple[str, str], Program] = {}
        self._version = 0

    @property
    def version(self) -> int:
        """A number that grows with each event."""
        return self._version

    def changed(self, program: Program) -> Program | None:
        """Record an event; returns the program's state before."""
        key = (program.group, program.name)
        with self._lock:
            self._version += 1
            before = self._programs.get(key)
            self._programs[key] = program
        return before

    def adopt(self, programs: Iterable[Program], as_of: int) -> bool:
        """Record supervisord's list, unless an event came in since `version` was `as_of`."""
        fresh = {(program.group, program.name): program for program in programs}
        with self._lock:
            if self._version != as_of:
                return False
            self._programs = fresh
        return True

    def all(self) -> tuple[Program, ...]:
        """Return all of them, by group and name."""
        with self._lock:
            return tuple(self._programs[key] for key in sorted(self._programs))

    def up(self) -> Mapping[str, bool]:
        """Return whether each process that should run does, by its name."""
        # supervisord counts this process as STARTING for a while, but it runs, since it answers.
        return {
            p.name: p.state == "RUNNING" or (p.pid is not None and p.pid == self._own_pid)
            for p in self.all()
            if p.group not in ONE_SHOTS
        }

    def states(self) -> Mapping[str, str]:
        """Return supervisord's state of each process that should run, by its name."""
        up = self.up()
        return {p.name: "RUNNING" if up[p.name] else p.state for p in self.all() if p.name in up}

    def fatal(self) -> tuple[str, ...]:
        """Return the names of the programs that supervisord no longer restarts."""
        return tuple(p.name for p in self.all() if p.state == FATAL and p.group not in ONE_SHOTS)

    def names(self) -> Mapping[int, str]:
        """Return the names of all that have a process, by its id."""
        return {p.pid: p.name for p in self.all() if p.pid and p.state in LIVE_STATES}

    def pid_of(self, name: str) -> int | None:
        """Return the process id of a program; None while it has no process."""
        return next((pid for pid, known in self.names().items() if known == name), None)

    def workers(self) -> Mapping[str, int]:
        """Return the process ids of all running workers of this machine, by name."""
        return {
            p.name: p.pid for p in self.all() if p.group == WORKER_GROUP and p.pid and p.state == "RUNNING"
        }
