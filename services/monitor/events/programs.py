"""supervisord's programs and their states, as it lists them over its unix socket."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import time
import xmlrpc.client  # read from our own supervisord, over a socket that only we may open
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from services.monitor.guard.process_table import is_running

logger = logging.getLogger(__name__)

#: supervisord's name for the group of all workers.
WORKER_GROUP = "worker"
#: The api's group and name.
API = "api"
#: Programs that run once and exit: they do not count as down.
ONE_SHOTS = frozenset({"announce"})
#: The states of a program that runs, and of one that supervisord no longer restarts.
RUNNING, FATAL = "RUNNING", "FATAL"
#: The state of a program that was told to end, and has ended.
STOPPED = "STOPPED"
#: States in which a program has a process.
LIVE_STATES = frozenset({"STARTING", RUNNING, "STOPPING"})
#: A program, or a worker without a batch, crashes again and again if it ended so often within so many seconds.
CRASHES, CRASH_SECONDS = 3, 60.0
#: Seconds to wait for supervisord's answer.
TIMEOUT = 3.0
#: supervisord's fault code for "I am shutting down".
SHUTDOWN_STATE = 6


class SupervisorAwayError(Exception):
    """supervisord does not answer. The message says why."""


class SupervisorStoppingError(Exception):
    """supervisord answers that it is stopping all programs."""


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process; `pid` is None while it has none."""

    group: str
    name: str
    state: str
    pid: int | None = None


class Programs:
    """All supervised processes, as last listed.

    One thread calls `adopt` and `note_ended`, one `note_crash`, one `note_exit`, any may call the rest.
    """

    def __init__(self, own_pid: int | None = None) -> None:
        self._own_pid = os.getpid() if own_pid is None else own_pid
        #: All of them, by group and name.
        self.all: tuple[Program, ...] = ()
        #: The times of the last crashes, by worker, and of the last unexpected exits, by program.
        self._crashes: dict[str, list[float]] = {}
        self._exits: dict[str, list[float]] = {}

    def adopt(self, programs: Iterable[Program]) -> None:
        """Record supervisord's list."""
        # supervisord counts this process as STARTING for a while, but it runs, since it answers.
        known = (replace(p, state=RUNNING) if p.pid == self._own_pid else p for p in programs)
        self.all = tuple(sorted(known, key=lambda program: (program.group, program.name)))

    def note_ended(self) -> None:
        """Record ended programs as stopped; supervisord gives no list while it stops all."""
        self.adopt(
            replace(p, state=STOPPED, pid=None) if p.pid and not is_running(p.pid) else p for p in self.all
        )

    def note_crash(self, worker: str) -> None:
        """Record that a worker of this machine (HOST/NAME) ended unexpectedly, without a batch."""
        _note_time(self._crashes, worker)
        if worker in self.crashing():
            logger.error("a worker crashes again and again", extra={"worker": worker})

    def crashing(self) -> frozenset[str]:
        """Return the workers of this machine (HOST/NAME) that crash again and again."""
        return _too_often(self._crashes)

    def note_exit(self, program: str) -> None:
        """Record that a program other than a worker ended unexpectedly."""
        _note_time(self._exits, program)

    def restarting(self) -> frozenset[str]:
        """Return the programs other than workers that end again and again."""
        return _too_often(self._exits)

    def states(self) -> Mapping[str, str]:
        """Return supervisord's state of each process that should run, by its name."""
        return {p.name: p.state for p in self.all if p.group not in ONE_SHOTS}

    def names(self) -> Mapping[int, str]:
        """Return the names of all that have a process, by its id."""
        return {p.pid: p.name for p in self.all if p.pid and p.state in LIVE_STATES}

    def pid_of(self, name: str) -> int | None:
        """Return the process id of a program; None while it has no process."""
        return next((pid for pid, known in self.names().items() if known == name), None)

    def workers(self) -> Mapping[str, int]:
        """Return the process ids of all running workers of this machine, by name."""
        return {p.name: p.pid for p in self.all if p.group == WORKER_GROUP and p.pid and p.state == RUNNING}


def _note_time(times: dict[str, list[float]], name: str) -> None:
    times[name] = [*times.get(name, ()), time.monotonic()][-CRASHES:]


def _too_often(times: Mapping[str, list[float]]) -> frozenset[str]:
    since = time.monotonic() - CRASH_SECONDS
    noted = list(times.items())
    return frozenset(name for name, last in noted if len(last) == CRASHES and last[0] > since)


class _UnixTransport(xmlrpc.client.Transport):
    """HTTP over a unix socket with a time limit; supervisor's own transport has none."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = str(path)

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost")
        self._connection = host, connection  # which `close` closes
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(TIMEOUT)
        connection.sock.connect(self._path)
        return connection


def list_programs(supervisor_socket: Path) -> list[Program]:
    """Return all supervised processes that were ever started: the others should not run here.

    Raises SupervisorStoppingError while all programs are being stopped, SupervisorAwayError without an answer.
    """
    try:
        with xmlrpc.client.ServerProxy("http://localhost", _UnixTransport(supervisor_socket)) as supervisord:
            infos: Any = supervisord.supervisor.getAllProcessInfo()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error) as fault:
        if isinstance(fault, xmlrpc.client.Fault) and fault.faultCode == SHUTDOWN_STATE:
            raise SupervisorStoppingError from fault
        raise SupervisorAwayError(f"{supervisor_socket}: {fault}") from fault
    return [
        Program(
            info["group"],
            info["name"],
            info["statename"],
            info["pid"] or None if info["statename"] in LIVE_STATES else None,
        )
        for info in infos
        if info["start"] or info["statename"] != STOPPED
    ]
