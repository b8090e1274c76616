"""Batches of dead, hung and silent workers run again, once, and with the right blame."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
import redis

from services.monitor.events.listener import ExitReport
from services.monitor.events.programs import Program, Programs
from services.monitor.guard.process_table import is_stopped
from services.monitor.recovery.rescue import Rescue
from services.monitor.recovery.worker_exits import Machine, WorkerExits
from shared.jobs import keys
from shared.jobs.recovery import Blame, Recovery, Running
from shared.settings import Settings
from shared.timing import TIMING
from tests.integration.conftest import Logged
from tests.integration.monitor.conftest import HOST, NOBODY, Scene, report
from tests.support.redis_server import until

#: BATCH_TIMEOUT_SECONDS of these tests' settings.
BATCH_SECONDS = 1

type MakeRescue = Callable[..., Rescue]


@pytest.fixture
def programs() -> Programs:
    return Programs()


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def make_rescue(
    scene: Scene, programs: Programs, stopping: threading.Event, settings: Settings
) -> MakeRescue:
    """Make the recovery of an appliance's monitor; `settled`: as if it had run for long."""

    def make(host: str = HOST, supervisor_pid: int = os.getpid(), *, settled: bool = False) -> Rescue:
        exits = WorkerExits(Machine(host, supervisor_pid), stopping)
        recovery = Recovery(scene.connection, scene.store)
        seconds = settings.batch_timeout_seconds
        rescue = Rescue(scene.connection, recovery, scene.counters, programs, exits, seconds)
        if settled:
            rescue.step()
            rescue._settled_at = 0.0
        return rescue

    return make


@pytest.fixture
def rescue(make_rescue: MakeRescue) -> Rescue:
    return make_rescue()


def end(rescue: Rescue, worker: subprocess.Popen[bytes], pid: int | None, *, in_order: bool = False) -> None:
    """Kill a worker, report its exit, and let the monitor look."""
    worker.kill()
    worker.wait()
    rescue.worker_exited(ExitReport("worker-1", pid, in_order=in_order))
    rescue.step()


def step_until_killed(
    worker: subprocess.Popen[bytes], rescue: Rescue, before_each_step: Callable[[], object] = str
) -> None:
    def is_killed() -> bool:
        before_each_step()
        rescue.step()
        return worker.poll() == -signal.SIGKILL

    until(is_killed)


@pytest.mark.parametrize(
    ("how", "cause", "blame"),
    [
        ("killed", "worker_died", Blame.DEATH),
        ("killed young: reported without its id", "worker_died", Blame.DEATH),
        ("killed unreported: seen in the process table", "worker_died", Blame.UNEXPLAINED),
        ("killed excused: for another one's memory", "worker_died", Blame.UNEXPLAINED),
        ("in order", "left", Blame.NONE),
        ("in a drain", "left", Blame.NONE),
    ],
)
def test_an_ended_workers_batch_is_queued_again_and_blamed_for_what_it_may_have_done(
    scene: Scene,
    rescue: Rescue,
    stopping: threading.Event,
    logged: Logged,
    how: str,
    cause: str,
    blame: Blame,
) -> None:
    job = scene.accept(3)
    worker = scene.working(job, 0)
    assert scene.waiting(job) == {1, 2}
    rescue.step()
    if "excused" in how:
        rescue._exits.excuse(worker.pid)
    if how == "in a drain":
        stopping.set()
    if "unreported" in how:
        worker.kill()
        worker.wait()
        rescue.step()  # supervisord's report may be on its way
        assert scene.waiting(job) == {1, 2}
        rescue.step()
    else:
        end(rescue, worker, None if "young" in how else worker.pid, in_order=how == "in order")
    assert scene.waiting(job) == {0, 1, 2}
    assert scene.heartbeats.alive() == {}
    assert scene.recovered() == {cause: 1}
    assert scene.blame(job) == blame
    assert scene.counted("worker_crashes_total") == {}  # a batch may be to blame
    [line] = logged("batch runs again")
    assert line.endswith(f" request=r-1 job={job.id} batch=0 cause={cause}")


def test_a_worker_that_ends_without_a_batch_has_crashed_unless_it_was_told_to_end(
    scene: Scene, rescue: Rescue
) -> None:
    for number, in_order in enumerate((True, False)):
        worker = scene.spawn()
        scene.beat(pid=worker.pid, token=f"life-{number}")
        rescue.step()
        end(rescue, worker, worker.pid, in_order=in_order)
    assert scene.counted("worker_crashes_total") == {"worker_crashes_total": 1}


@pytest.mark.parametrize("pid", [NOBODY, None])
def test_what_the_last_life_held_is_given_back_and_the_present_one_stays(
    scene: Scene, rescue: Rescue, pid: int | None
) -> None:
    job = scene.accept(2)
    scene.take(scene.beat(token="life-1"), job, 0)
    heartbeat = scene.beat(token="life-2")
    scene.take(heartbeat, job, 1)
    rescue.worker_exited(ExitReport("worker-1", pid, in_order=False))
    rescue.step()
    assert scene.waiting(job) == {0}
    assert list(scene.heartbeats.alive()) == [heartbeat.name]
    assert scene.recovered() == {"worker_died": 1}


def test_a_vanished_machines_batches_are_given_back_once_by_all_monitors_when_its_leases_are_out(
    scene: Scene, make_rescue: MakeRescue
) -> None:
    monitors = [make_rescue(host) for host in ("api", "box-2", "box-3")]
    job = scene.accept(3)
    heartbeats = [scene.beat(f"worker-{number}", NOBODY, "vanished") for number in (1, 2)]
    for number, heartbeat in enumerate(heartbeats, 1):
        scene.take(heartbeat, job, number)
    monitors[0].worker_exited(ExitReport("worker-1", None, in_order=False))  # its own of that name

    def step() -> set[int]:
        for monitor in monitors:
            monitor.step()
        return scene.waiting(job)

    assert step() == {0}
    for heartbeat in heartbeats:
        scene.fall_silent(heartbeat)
    assert step() == {0}  # Redis has not answered for a whole lease yet
    for monitor in monitors:
        monitor._settled_at = 0.0
    assert step() == {0}  # its own monitor may be about to say why
    time.sleep(TIMING.remote_silent_seconds)
    assert step() == {0, 1, 2}
    assert scene.connection.llen("rq:queue:bulk") == 3
    assert scene.recovered() == {"lease": 2}
    monitors[0]._lost_due = 0.0
    monitors[0].step()
    assert scene.connection.smembers(keys.WORKERS) == set()  # their names are forgotten


def test_a_batch_lost_between_queue_and_claim_is_found_at_once_after_a_death_though_redis_was_away(
    scene: Scene, rescue: Rescue, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = scene.accept(2)
    rescue.step()  # the first look is thorough; the next is only after seconds
    scene.connection.rpop("rq:queue:bulk")
    rescue.step()
    assert scene.waiting(job) == {0}
    rescue.worker_exited(ExitReport("worker-1", None, in_order=False))

    def away() -> None:
        raise redis.exceptions.ConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr(rescue._heartbeats, "alive", away)
        with pytest.raises(redis.exceptions.ConnectionError):
            rescue.step()
    rescue.step()  # the report is not forgotten
    assert scene.waiting(job) == {0, 1}
    assert scene.recovered() == {"lost": 1}
    [line] = logged("batch runs again")
    assert line.endswith(f" request=r-1 job={job.id} batch=1 cause=lost")


@pytest.mark.parametrize("beats", [True, False], ids=["beating", "silent, since native code holds the GIL"])
def test_a_hung_workers_batch_is_taken_by_killing_the_worker(
    scene: Scene, rescue: Rescue, logged: Logged, *, beats: bool
) -> None:
    job, started = scene.accept(), time.monotonic()
    worker = scene.working(job)
    rescue.step()
    if not beats:
        scene.fall_silent(scene.heartbeats.alive()[f"{HOST}/worker-1"])
        rescue._settled_at = 0.0
        rescue.step()
        assert scene.waiting(job) == set()  # silent for longer than its lease, and at work all the same
    assert not logged("worker killed")
    step_until_killed(worker, rescue, (lambda: scene.beat(pid=worker.pid)) if beats else str)
    assert time.monotonic() - started > BATCH_SECONDS
    end(rescue, worker, worker.pid)
    assert scene.waiting(job) == {0}
    assert scene.recovered() == {"hung": 1}
    assert scene.blame(job) == Blame.DEATH
    [line] = logged("worker killed")
    assert f" request=r-1 job={job.id} batch=0 " in line


def test_a_worker_that_waits_for_a_processor_has_not_hung(
    scene: Scene, rescue: Rescue, logged: Logged
) -> None:
    busy = [sys.executable, "-c", "while True: pass"]
    with ExitStack() as started:
        worker, *others = (started.enter_context(subprocess.Popen(busy)) for _ in range(4))
        for process in (worker, *others):
            started.callback(process.kill)
            os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
        scene.take(scene.beat(pid=worker.pid), scene.accept())
        rescue.step()
        time.sleep(1.5 * BATCH_SECONDS)  # of which it works for a quarter
        scene.beat(pid=worker.pid)
        rescue.step()
        assert not logged("worker killed")
        for other in others:  # from now on the worker works, and does not end
            other.kill()
        step_until_killed(worker, rescue, lambda: scene.beat(pid=worker.pid))


def test_a_worker_has_not_hung_because_the_clock_was_set(
    scene: Scene, rescue: Rescue, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.working(scene.accept())
    rescue.step()
    monkeypatch.setattr(scene.connection, "time", lambda: (int(time.time() + 3 * 3600), 0))
    rescue.step()
    assert not logged("worker killed")


def test_no_process_outside_the_appliance_is_ever_killed(
    scene: Scene, make_rescue: MakeRescue, logged: Logged
) -> None:
    rescue = make_rescue(supervisor_pid=scene.spawn().pid)
    rescue._timeout = 0
    stranger = scene.working(scene.accept())
    rescue.step()
    time.sleep(0.05)
    rescue.step()
    assert not logged("worker killed")
    assert stranger.poll() is None


def test_a_worker_that_runs_and_is_never_heard_of_is_killed_once_somebody_could_hear_it(
    scene: Scene, rescue: Rescue, programs: Programs, logged: Logged
) -> None:
    silent, speaking = scene.spawn(), scene.spawn()
    report(programs, Program("worker", "worker-1", "RUNNING", silent.pid))
    report(programs, Program("worker", "worker-2", "RUNNING", speaking.pid))
    rescue._timing = replace(TIMING, silent_worker_seconds=0, redis_gap_seconds=0.2)
    for _ in range(2):
        rescue.step()
        time.sleep(1.2 * BATCH_SECONDS)  # Redis was away, as far as the monitor can tell
    rescue.step()
    assert not logged("worker killed")
    rescue._timing = replace(TIMING, silent_worker_seconds=0)
    step_until_killed(silent, rescue, lambda: scene.beat("worker-2", speaking.pid))
    assert speaking.poll() is None
    assert scene.counted("worker_recycles_total") == {"silent": 1}


def test_a_stopped_workers_batch_is_given_to_another_only_when_redis_has_answered_long_enough(
    scene: Scene, rescue: Rescue
) -> None:
    job = scene.accept()
    worker = scene.working(job)
    rescue.step()
    worker.send_signal(signal.SIGSTOP)
    until(lambda: is_stopped(worker.pid))  # it must get a processor for that, too
    scene.fall_silent(scene.heartbeats.alive()[f"{HOST}/worker-1"])  # as after a long outage
    rescue.step()
    assert scene.waiting(job) == set()
    rescue._settled_at = 0.0
    rescue.step()
    assert scene.waiting(job) == {0}
    assert scene.recovered() == {"lease": 1}


# --- Several appliances on one Redis: each monitor does its share, and duties happen once. ---


def test_a_killed_workers_batch_is_its_own_monitors_to_give_back_though_another_looks_in_between(
    scene: Scene, make_rescue: MakeRescue, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, other = make_rescue(settled=True), make_rescue("other", settled=True)
    job = scene.accept()
    worker = scene.working(job)
    here.step()
    release = here._recovery.release

    def release_after_the_other_looked(orphan: Running, blame: Blame) -> Any:
        other.step()  # the heartbeat has expired by now
        return release(orphan, blame)

    monkeypatch.setattr(here._recovery, "release", release_after_the_other_looked)
    end(here, worker, worker.pid)
    assert scene.waiting(job) == {0}
    assert scene.recovered() == {"worker_died": 1}
    assert scene.blame(job) == Blame.DEATH


def test_a_machines_name_shared_by_two_appliances_ends_neithers_workers(
    scene: Scene, make_rescue: MakeRescue
) -> None:
    first, second = (make_rescue(f"same-{number}", settled=True) for number in (1, 2))
    job, worker = scene.accept(2), scene.spawn()
    scene.take(scene.beat(pid=worker.pid, host="same-1"), job, 0)
    # The same process name, and an id that is nobody's here: the other container counts its own.
    scene.take(scene.beat(pid=NOBODY, host="same-2", token="life-9"), job, 1)
    for _ in range(3):
        first.step()
    assert scene.waiting(job) == set()
    second.worker_exited(ExitReport("worker-1", NOBODY, in_order=False))
    second.step()
    assert scene.waiting(job) == {1}
