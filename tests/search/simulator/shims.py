"""Replaces clocks, threads and random numbers in the product, RQ and redis-py."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import redis.backoff
import redis.client
import redis.retry
import redis.utils
import rq.worker.base

import shared.log
from shared.appliance.program_start import HOST_NAME_NAME, STARTED_AT_NAME
from tests.search.simulator.wire import SimulatedConnection
from tests.search.simulator.world import EPOCH, UPTIME, Event, Lock, Task, World, running_world

#: The packages whose modules see the shims, and those that must not: logging has no part in a history.
SHIMMED, LEFT = ("shared.", "services."), (shared.log.__name__,)


class Clock:
    """The module `time`, by the clocks of the machine of the process that asks."""

    @staticmethod
    def monotonic() -> float:
        return running_world().now

    thread_time = monotonic

    @staticmethod
    def time() -> float:
        return wall_clock(running_world())

    @staticmethod
    def time_ns() -> int:
        return int(Clock.time() * 1e9)

    @staticmethod
    def sleep(seconds: float) -> None:
        running_world().wait(seconds)


def wall_clock(world: World) -> float:
    """Return the time of the running task's machine."""
    return EPOCH + world.now - UPTIME + world.task.process.machine.skew


class Thread:
    """threading.Thread as a task of the process that starts it."""

    def __init__(
        self, target: Callable[[], object] | None = None, name: str = "thread", *, daemon: bool = True
    ) -> None:
        del daemon
        self._target = target
        self.name = name
        self._task: Task | None = None

    def start(self) -> None:
        world = running_world()
        assert self._target is not None
        self._task = world.spawn(world.task.process, self.name, self._target)

    def join(self, timeout: float | None = None) -> None:
        if self._task is not None:
            self._task.ended.wait(timeout)


class Secrets:
    """The module `secrets`, by the history's seed."""

    @staticmethod
    def token_hex(nbytes: int) -> str:
        return f"{running_world().rng.getrandbits(8 * nbytes):0{2 * nbytes}x}"


class Randomness:
    """The part of the module `random` that redis-py uses, by the history's seed."""

    @staticmethod
    def random() -> float:
        return running_world().rng.random()

    @staticmethod
    def uniform(least: float, most: float) -> float:
        return running_world().rng.uniform(least, most)


class OperatingSystem:
    """The module `os` in a worker: its environment, its process id and its end."""

    @property
    def environ(self) -> dict[str, str]:
        process = running_world().task.process
        return {HOST_NAME_NAME: process.machine.name, STARTED_AT_NAME: repr(process.started_at)}

    @staticmethod
    def getpid() -> int:
        return running_world().task.process.pid

    @staticmethod
    def _exit(code: int) -> None:
        world = running_world()
        world.exit(world.task.process, code)


@contextmanager
def shims(parts: Iterable[tuple[Any, str, Any]]) -> Iterator[None]:
    """Have the product run in simulated worlds, with these parts: owner, name and part."""
    modules = [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith(SHIMMED) and name not in LEFT
    ]
    replaced = {
        "time": Clock,
        "threading": SimpleNamespace(Thread=Thread, Event=Event, Lock=Lock),
        "secrets": Secrets,
    }
    shimmed: list[tuple[Any, str, Any]] = [
        (module, name, shim)
        for module in modules
        for name, shim in replaced.items()
        if isinstance(getattr(module, name, None), ModuleType)
    ]
    shimmed += [
        (redis.client, "UnixDomainSocketConnection", SimulatedConnection),
        (redis.retry, "sleep", Clock.sleep),
        # It would send UNWATCH for a killed process, whenever garbage is collected.
        (redis.client.Pipeline, "__del__", lambda _pipeline: None),
        (redis.utils, "get_lib_version", functools.cache(redis.utils.get_lib_version)),
        (redis.backoff, "random", Randomness),
        (rq.worker.base, "time", Clock),
        *parts,
    ]
    with ExitStack() as stack:
        for owner, name, part in shimmed:
            stack.enter_context(mock.patch.object(owner, name, part))
        yield
