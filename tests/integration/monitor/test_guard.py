"""The memory guard over real processes: whom it asks to leave or kills, and when not."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from services.monitor.events.programs import Program, Programs
from services.monitor.guard import guard as guard_module
from services.monitor.guard import memory_decision
from services.monitor.guard.guard import Guard
from services.monitor.guard.memory_decision import Marks
from services.monitor.guard.memory_gauge import SUPERVISOR, MemoryGauge, Source
from services.monitor.guard.process_table import send_signal
from shared.timing import TIMING
from tests.integration.monitor.conftest import Scene, report

MB = 2**20
#: Marks that no working set reaches, and ones that every working set has passed.
FAR, SOFT, HARD = Marks(100_000 * MB, None), Marks(1 * MB, None), Marks(1 * MB, 2 * MB)
#: Seconds after which an api counts as grown here.
GROWN_SECONDS = 0.5

type Watch = Callable[[Marks], "Watched"]


class Watched:
    """A guard over two real workers of 20 and 60 MB, of which the larger is worth recycling."""

    def __init__(self, scene: Scene, marks: Marks) -> None:
        self.scene = scene
        self.programs = Programs(own_pid=-1)
        self.small, self.large = self.run("worker-1", 20), self.run("worker-2", 60)
        self.heartbeats = {"worker-1": self.small.pid, "worker-2": self.large.pid}
        self.excused: list[int] = []
        self.signalled: list[int] = []
        #: Whether workers finish a long batch before they leave.
        self.busy = False
        self.stopping = threading.Event()
        self.gauge = MemoryGauge(Source(None, "a test"), marks, self.programs, os.getpid())
        self.guard = Guard(
            self.gauge,
            self.programs,
            scene.counters,
            lambda: self.heartbeats,
            self.excused.append,
            self.stopping,
            replace(TIMING, api_grown_seconds=GROWN_SECONDS),
        )

    def send_signal(self, pid: int, number: signal.Signals, ancestor: int) -> bool:
        """Note whom the guard signals: a process may end only some time after."""
        self.signalled.append(pid)
        return self.busy or send_signal(pid, number, ancestor)

    def run(self, name: str, megabytes: int) -> subprocess.Popen[bytes]:
        """Start a program's process, in place of the one before."""
        process = self.scene.spawn(megabytes)
        report(self.programs, Program(name.partition("-")[0], name, "RUNNING", process.pid))
        return process

    def gone(self, *names: str) -> None:
        """List programs as exited."""
        for name in names:
            report(self.programs, Program("worker", name, "EXITED"))

    def step(self, times: int = 1, after: float = 0.0) -> None:
        for _ in range(times):
            time.sleep(after)
            self.guard.step()

    def recycles(self) -> dict[str, float]:
        return self.scene.counted("worker_recycles_total")


@pytest.fixture
def watch(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Count a worker of 40 MB as worth recycling, and an api of that size as grown."""
    monkeypatch.setattr(memory_decision, "WORTH_RECYCLING", 40 * MB)
    monkeypatch.setattr(memory_decision.Marks, "api", 40 * MB)

    def watch(marks: Marks) -> Watched:
        watched = Watched(scene, marks)
        monkeypatch.setattr(guard_module, "send_signal", watched.send_signal)
        return watched

    return watch


def ended_by(process: subprocess.Popen[bytes]) -> int:
    return -process.wait(60)


def test_below_the_marks_or_while_everything_stops_each_program_is_measured_and_none_disturbed(
    watch: Watch,
) -> None:
    watched = watch(FAR)
    watched.step()
    state = watched.gauge.state
    assert state is not None
    sizes = state.by_program
    assert 20 * MB < sizes["worker-1"] < 40 * MB
    assert 60 * MB < sizes["worker-2"] < 80 * MB
    assert state.working_set == sum(sizes.values())
    assert sizes[SUPERVISOR] > 0
    watched.guard._marks = HARD
    watched.stopping.set()
    watched.step()
    assert watched.large.pid not in watched.signalled


def test_the_largest_worker_is_asked_to_leave_once_and_its_successor_not_while_it_is_young(
    watch: Watch,
) -> None:
    watched = watch(SOFT)
    watched.step()
    assert ended_by(watched.large) == signal.SIGTERM
    successor = watched.run("worker-2", 60)
    watched.heartbeats["worker-2"] = successor.pid
    watched.step(3)
    assert successor.pid not in watched.signalled
    watched.guard._timing = replace(TIMING, young_worker_seconds=0.0, recycle_successor_seconds=0.0)
    watched.busy = True
    watched.step(3)
    assert watched.signalled == [watched.large.pid, successor.pid]  # a second signal would end its batch
    assert watched.recycles() == {"memory_soft": 2}


def test_without_a_worker_large_enough_that_is_reported_once_a_minute(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    watched = watch(SOFT)
    watched.gone("worker-2")
    watched.step(3)
    assert watched.small.pid not in watched.signalled
    assert sum("no worker is large enough" in line for line in caplog.messages) == 1
    assert watched.scene.counted("memory_unrelieved_total") == {"memory_unrelieved_total": 1}


@pytest.mark.parametrize(("worker_mb", "excused"), [(1, False), (1000, True)])
def test_at_the_hard_mark_workers_are_killed_one_by_one_with_pauses_and_excused_if_they_were_small(
    watch: Watch, worker_mb: int, *, excused: bool
) -> None:
    watched = watch(Marks(1 * MB, 2 * MB, worker_mb * MB))
    watched.step(2)
    assert ended_by(watched.large) == signal.SIGKILL
    assert watched.small.pid not in watched.signalled
    assert watched.excused == ([watched.large.pid] if excused else [])
    watched.gone("worker-2")
    watched.guard._killed_at -= TIMING.futile_kill_pause_seconds
    watched.step()
    assert ended_by(watched.small) == signal.SIGKILL
    successor = watched.run("worker-1", 20)
    watched.guard._killed_at -= TIMING.kill_pause_seconds + 1  # enough after one that freed much
    watched.step()
    assert successor.pid not in watched.signalled
    assert watched.recycles() == {"memory_hard": 2}


def test_an_admins_request_is_one_worker_and_the_next_one_waits_for_its_successor(watch: Watch) -> None:
    watched = watch(FAR)
    took = [watched.guard.takes_requests]
    watched.guard.request_recycle()
    took.append(watched.guard.takes_requests)
    watched.step()
    assert ended_by(watched.large) == signal.SIGTERM
    watched.gone("worker-2")
    watched.step(3)
    took.append(watched.guard.takes_requests)
    assert watched.small.pid not in watched.signalled
    watched.heartbeats["worker-2"] = 1  # the successor sends heartbeats
    watched.step()
    took.append(watched.guard.takes_requests)
    watched.gone("worker-1")
    took.append(watched.guard.takes_requests)  # it has no worker of its own
    assert took == [True, False, False, True, False]
    assert watched.recycles() == {"admin": 1}


def test_a_grown_api_stays_while_a_worker_is_replaced_and_is_then_asked_to_exit_once_and_again_where_that_failed(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch(SOFT)
    api = watched.run("api", 60)
    watched.step()  # recycles the large worker
    watched.step(3, after=0.5 * GROWN_SECONDS)
    assert watched.recycles() == {"memory_soft": 1}
    watched.gone("worker-2")
    watched.heartbeats["worker-2"] = 1  # the successor sends heartbeats, and memory is still at its limit
    watched.step()
    assert api.pid not in watched.signalled
    with monkeypatch.context() as patch:
        patch.setattr(watched.programs, "pid_of", lambda _name: None)
        watched.step(after=GROWN_SECONDS)
    assert api.pid not in watched.signalled
    watched.step()
    assert ended_by(api) == signal.SIGTERM
    successor = watched.run("api", 60)
    watched.step(2, after=GROWN_SECONDS)
    assert successor.pid not in watched.signalled
    assert sum(watched.scene.counted("api_recycles_total").values()) == 1


def test_kills_that_free_nothing_do_not_protect_the_api(watch: Watch) -> None:
    watched = watch(HARD)
    watched.gone("worker-2")
    api = watched.run("api", 60)
    watched.step()
    assert ended_by(watched.small) == signal.SIGKILL
    watched.step(after=GROWN_SECONDS)  # waits for the kill's effect
    assert ended_by(api) == signal.SIGTERM
