from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from services.monitor.events.programs import Program, Programs
from services.monitor.guard import memory_decision
from services.monitor.guard.guard import Guard
from services.monitor.guard.memory_decision import Marks
from services.monitor.guard.memory_gauge import SUPERVISOR, MemoryGauge, Source
from shared.appliance.counters import Counters
from shared.timing import TIMING, Timing
from tests.integration.monitor.conftest import report

MB = 2**20
PSS_SOURCE = Source(None, "a test")

type Spawn = Callable[..., subprocess.Popen[bytes]]


class Watched:
    """A guard over two real workers of 60 and 130 MB."""

    def __init__(self, counters: Counters, spawn: Spawn, marks: Marks) -> None:
        self.small, self.large = spawn(60), spawn(130)
        self.counters = counters
        self.programs = Programs(own_pid=-1)
        report(self.programs, Program("worker", "worker-1", "RUNNING", self.small.pid))
        report(self.programs, Program("worker", "worker-2", "RUNNING", self.large.pid))
        self.heartbeats = {"worker-1": self.small.pid, "worker-2": self.large.pid}
        self.excused: list[int] = []
        self.stopping = threading.Event()
        self.gauge = MemoryGauge(PSS_SOURCE, marks, self.programs, os.getpid())
        self.guard = self.make_guard(TIMING)

    def make_guard(self, timing: Timing) -> Guard:
        return Guard(
            self.gauge,
            self.programs,
            self.counters,
            lambda: self.heartbeats,
            self.excused.append,
            self.stopping,
            timing,
        )

    def recycles(self) -> dict[str, float]:
        self.counters.flush()
        return {key[-1]: value for key, value in self.counters.read().items()}


@pytest.fixture
def counters(connection: redis.Redis) -> Counters:
    return Counters(connection)


def test_the_working_set_is_the_sum_of_pss_and_each_program_is_named(
    counters: Counters, spawn: Spawn
) -> None:
    watched = Watched(counters, spawn, Marks(100_000 * MB, None))
    watched.guard.step()
    state = watched.gauge.state
    assert state is not None
    sizes = state.by_program
    assert 60 * MB < sizes["worker-1"] < 90 * MB
    assert 130 * MB < sizes["worker-2"] < 160 * MB
    assert state.working_set == sum(sizes.values())
    assert sizes[SUPERVISOR] > 0
    assert watched.large.poll() is None


def test_the_largest_worker_is_asked_to_leave_and_the_next_only_when_its_successor_is_there(
    counters: Counters, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_decision, "WORTH_RECYCLING", 10 * MB)
    watched = Watched(counters, spawn, Marks(1 * MB, None))
    watched.guard.step()
    assert watched.large.wait(60) == -signal.SIGTERM
    report(watched.programs, Program("worker", "worker-2", "EXITED"))
    watched.guard.step()
    assert watched.small.poll() is None
    watched.heartbeats["worker-2"] = 1  # the successor sends heartbeats
    watched.guard.step()
    assert watched.small.wait(60) == -signal.SIGTERM
    assert watched.recycles() == {"memory_soft": 2}


def test_without_a_worker_large_enough_that_is_reported_once_a_minute(
    counters: Counters, spawn: Spawn, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_decision, "WORTH_RECYCLING", 1000 * MB)
    watched = Watched(counters, spawn, Marks(1 * MB, None))
    for _ in range(3):
        watched.guard.step()
    assert watched.large.poll() is None
    assert [r.getMessage() for r in caplog.records] == [
        "memory is at its limit, and no worker is large enough to matter"
    ]
    assert watched.recycles() == {"memory_unrelieved_total": 1}


def test_at_the_hard_mark_the_largest_worker_is_killed_and_not_at_once_another(
    counters: Counters, spawn: Spawn
) -> None:
    watched = Watched(counters, spawn, Marks(1 * MB, 2 * MB))
    watched.guard.step()
    watched.guard.step()
    assert watched.large.wait(60) == -signal.SIGKILL
    assert watched.small.poll() is None
    assert watched.recycles() == {"memory_hard": 1}


def test_while_everything_is_being_stopped_no_worker_is_disturbed(counters: Counters, spawn: Spawn) -> None:
    watched = Watched(counters, spawn, Marks(1 * MB, 2 * MB))
    watched.stopping.set()
    watched.guard.step()
    assert watched.large.poll() is None
    assert watched.gauge.state is not None


def test_a_successor_that_is_as_large_again_is_not_recycled_again_while_it_is_young(
    counters: Counters, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_decision, "WORTH_RECYCLING", 100 * MB)
    watched = Watched(counters, spawn, Marks(1 * MB, None))
    watched.guard.step()
    assert watched.large.wait(60) == -signal.SIGTERM
    successor = spawn(130)
    report(watched.programs, Program("worker", "worker-2", "RUNNING", successor.pid))
    watched.heartbeats["worker-2"] = successor.pid
    for _ in range(3):
        watched.guard.step()
    assert successor.poll() is None
    assert watched.recycles() == {"memory_soft": 1, "memory_unrelieved_total": 1}
    watched.guard._timing = replace(TIMING, young_worker_seconds=0.0)
    watched.guard.step()
    assert successor.wait(60) == -signal.SIGTERM


@pytest.mark.parametrize(("worker_mb", "excused"), [(1, False), (1000, True)])
def test_a_worker_killed_at_the_hard_mark_is_excused_if_it_was_no_larger_than_it_may_be(
    counters: Counters,
    spawn: Spawn,
    worker_mb: int,
    excused: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    watched = Watched(counters, spawn, Marks(1 * MB, 2 * MB, worker_mb * MB))
    watched.guard.step()
    assert watched.large.wait(60) == -signal.SIGKILL
    assert watched.excused == ([watched.large.pid] if excused else [])


def test_small_workers_are_not_killed_one_after_the_other(counters: Counters, spawn: Spawn) -> None:
    watched = Watched(counters, spawn, Marks(1 * MB, 2 * MB))
    watched.large.kill()
    watched.large.wait()
    report(watched.programs, Program("worker", "worker-2", "EXITED"))
    watched.guard.step()
    assert watched.small.wait(60) == -signal.SIGKILL
    successor = spawn(60)
    report(watched.programs, Program("worker", "worker-1", "RUNNING", successor.pid))
    watched.guard._killed_at -= TIMING.kill_pause_seconds + 1
    watched.guard.step()
    assert successor.poll() is None
    watched.guard._killed_at -= TIMING.futile_kill_pause_seconds
    watched.guard.step()
    assert successor.wait(60) == -signal.SIGKILL


def test_an_admins_request_is_one_worker_and_the_next_one_waits_for_its_successor(
    counters: Counters, spawn: Spawn
) -> None:
    watched = Watched(counters, spawn, Marks(100_000 * MB, None))
    took = [watched.guard.takes_requests]
    watched.guard.request_recycle()
    took.append(watched.guard.takes_requests)
    watched.guard.step()
    assert watched.large.wait(60) == -signal.SIGTERM
    report(watched.programs, Program("worker", "worker-2", "EXITED"))
    for _ in range(3):
        watched.guard.step()
    took.append(watched.guard.takes_requests)
    assert watched.small.poll() is None
    watched.heartbeats["worker-2"] = 1  # the successor sends heartbeats
    watched.guard.step()
    took.append(watched.guard.takes_requests)
    assert took == [True, False, False, True]
    assert watched.recycles() == {"admin": 1}


def test_without_workers_of_its_own_a_guard_takes_no_request(counters: Counters, spawn: Spawn) -> None:
    watched = Watched(counters, spawn, Marks(100_000 * MB, None))
    for name in ("worker-1", "worker-2"):
        report(watched.programs, Program("worker", name, "STOPPED"))
    assert not watched.guard.takes_requests


def quick(grown: float = 0.5) -> Timing:
    return replace(TIMING, api_grown_seconds=grown)


@pytest.fixture
def small_api_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count an api of 100 MB as grown, regardless of the soft mark."""
    monkeypatch.setattr(memory_decision.Marks, "api", 100 * MB)


@pytest.mark.usefixtures("small_api_mark")
def test_an_api_that_has_grown_is_asked_to_exit_once(counters: Counters, spawn: Spawn) -> None:
    watched = Watched(counters, spawn, Marks(1 * MB, None))
    for name in ("worker-1", "worker-2"):
        report(watched.programs, Program("worker", name, "STOPPED"))
    api = spawn(120)
    report(watched.programs, Program("api", "api", "RUNNING", api.pid))
    guard = watched.make_guard(quick())
    guard.step()
    assert api.poll() is None
    time.sleep(0.6)
    guard.step()
    assert api.wait(60) == -signal.SIGTERM
    successor = spawn(120)
    report(watched.programs, Program("api", "api", "RUNNING", successor.pid))
    for _ in range(2):
        guard.step()
        time.sleep(0.6)
    assert successor.poll() is None
    counters.flush()
    assert counters.read()["api_recycles_total",] == 1


@pytest.mark.usefixtures("small_api_mark")
def test_while_a_recycled_worker_finishes_its_batch_the_api_stays(counters: Counters, spawn: Spawn) -> None:
    watched = Watched(counters, spawn, Marks(1 * MB, None))
    api = spawn(120)
    report(watched.programs, Program("api", "api", "RUNNING", api.pid))
    guard = watched.make_guard(quick())
    guard.step()  # recycles the large worker
    for _ in range(4):
        time.sleep(0.3)
        guard.step()
    assert watched.recycles()["memory_soft"] == 1
    assert api.poll() is None
    report(watched.programs, Program("worker", "worker-2", "EXITED"))
    watched.heartbeats["worker-2"] = 1  # the successor sends heartbeats, and memory is still at its limit
    guard.step()
    time.sleep(0.6)
    guard.step()
    assert api.wait(60) == -signal.SIGTERM


@pytest.mark.usefixtures("small_api_mark")
def test_kills_that_free_nothing_do_not_protect_the_api(counters: Counters, spawn: Spawn) -> None:
    watched = Watched(counters, spawn, Marks(1 * MB, 2 * MB))
    report(watched.programs, Program("worker", "worker-2", "STOPPED"))
    api = spawn(120)
    report(watched.programs, Program("api", "api", "RUNNING", api.pid))
    guard = watched.make_guard(quick())
    guard.step()
    assert watched.small.wait(60) == -signal.SIGKILL
    time.sleep(0.6)
    guard.step()  # waits for the kill's effect
    assert api.wait(60) == -signal.SIGTERM


@pytest.mark.usefixtures("small_api_mark")
def test_an_api_that_could_not_be_asked_to_exit_is_asked_again(
    counters: Counters, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(counters, spawn, Marks(1 * MB, None))
    for name in ("worker-1", "worker-2"):
        report(watched.programs, Program("worker", name, "STOPPED"))
    api = spawn(120)
    report(watched.programs, Program("api", "api", "RUNNING", api.pid))
    guard = watched.make_guard(quick(0.0))
    with monkeypatch.context() as patch:
        patch.setattr(watched.programs, "pid_of", lambda _name: None)
        guard.step()
        guard.step()
        counters.flush()
    assert ("api_recycles_total",) not in counters.read()
    guard.step()
    assert api.wait(60) == -signal.SIGTERM
    counters.flush()
    assert counters.read()["api_recycles_total",] == 1
