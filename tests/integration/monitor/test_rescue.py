from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest
import redis

from services.monitor.events.listener import ExitReport
from services.monitor.events.programs import Program, Programs
from services.monitor.guard.process_table import is_stopped
from services.monitor.recovery.rescue import Rescue
from services.monitor.recovery.worker_exits import Machine, WorkerExits
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.jobs import keys
from shared.jobs.document import Job, Status
from shared.jobs.recovery import Blame, Recovery
from shared.jobs.store import JobStore
from shared.jobs.transitions import Claim
from shared.settings import Settings
from shared.timing import TIMING
from tests.integration.conftest import Logged
from tests.integration.monitor.conftest import report
from tests.integration.redis_server import until

HOST = "this-machine"
#: BATCH_TIMEOUT_SECONDS of these tests' settings.
BATCH_SECONDS = 2

type Accept = Callable[..., Job]
type Beat = Callable[..., Heartbeat]
type Spawn = Callable[..., subprocess.Popen[bytes]]
type Take = Callable[[Heartbeat, Job, int], None]


@pytest.fixture
def programs() -> Programs:
    return Programs()


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def exits(stopping: threading.Event) -> WorkerExits:
    return WorkerExits(Machine(HOST, os.getpid()), stopping)


@pytest.fixture
def rescue(
    connection: redis.Redis, store: JobStore, programs: Programs, exits: WorkerExits, settings: Settings
) -> Rescue:
    return Rescue(
        connection,
        Recovery(connection, store),
        Counters(connection),
        programs,
        exits,
        settings.batch_timeout_seconds,
    )


def recovered(connection: redis.Redis) -> dict[str, float]:
    sums = Counters(connection).read()
    return {key[1]: value for key, value in sums.items() if key[0] == "batches_recovered_total"}


def test_a_reported_deaths_batch_is_queued_again_at_once(
    connection: redis.Redis,
    store: JobStore,
    rescue: Rescue,
    accept: Accept,
    beat: Beat,
    spawn: Spawn,
    take: Take,
    logged: Logged,
) -> None:
    job, worker = accept(3), spawn()
    take(beat("worker-1", worker.pid), job, 1)
    assert store.queues.waiting_batches() == {(job.id, 0), (job.id, 2)}
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    rescue.worker_exited(ExitReport("worker-1", worker.pid, in_order=False))
    rescue.step()
    assert store.queues.waiting_batches() == {(job.id, 0), (job.id, 1), (job.id, 2)}
    assert Heartbeats(connection).alive() == {}
    assert recovered(connection) == {"worker_died": 1}
    [line] = logged("batch runs again")
    assert line.endswith(f" request=r-1 job={job.id} batch=1 cause=worker_died")


def test_an_unreported_death_is_seen_by_the_process_table(
    connection: redis.Redis,
    store: JobStore,
    rescue: Rescue,
    accept: Accept,
    beat: Beat,
    spawn: Spawn,
    take: Take,
) -> None:
    job, worker = accept(), spawn()
    take(beat("worker-1", worker.pid), job, 0)
    rescue.step()
    worker.kill()
    worker.wait()
    rescue.step()  # supervisord's report may be on its way
    rescue.step()
    assert store.queues.waiting_batches() == {(job.id, 0)}
    assert recovered(connection) == {"worker_died": 1}


@pytest.mark.parametrize("pid", [999_999_999, None])
def test_a_living_workers_batch_and_heartbeat_stay_though_its_last_life_is_reported_dead(
    connection: redis.Redis,
    store: JobStore,
    rescue: Rescue,
    accept: Accept,
    beat: Beat,
    take: Take,
    pid: int | None,
) -> None:
    job, heartbeat = accept(), beat("worker-1")
    take(heartbeat, job, 0)
    rescue.worker_exited(ExitReport("worker-1", pid, in_order=False))
    rescue.step()
    assert store.queues.waiting_batches() == set()
    assert list(Heartbeats(connection).alive()) == [heartbeat.name]


def test_a_batch_of_an_earlier_life_is_given_back(
    connection: redis.Redis, store: JobStore, rescue: Rescue, accept: Accept, beat: Beat, take: Take
) -> None:
    job = accept()
    take(beat("worker-1", token="life-1"), job, 0)
    beat("worker-1", token="life-2")
    rescue.step()
    assert store.queues.waiting_batches() == {(job.id, 0)}
    assert recovered(connection) == {"worker_died": 1}


def test_another_machines_worker_is_dead_only_when_its_lease_is_out(
    connection: redis.Redis, store: JobStore, rescue: Rescue, accept: Accept, beat: Beat, take: Take
) -> None:
    job = accept()
    heartbeat = beat("worker-1", pid=999_999_999, host="other")
    take(heartbeat, job, 0)
    rescue.worker_exited(ExitReport("worker-1", None, in_order=False))
    rescue.step()
    assert store.queues.waiting_batches() == set()
    connection.delete(keys.heartbeat(heartbeat.name))
    rescue.step()
    assert store.queues.waiting_batches() == set()  # Redis has not answered for a whole lease yet
    rescue._settled_at = 0.0
    rescue.step()
    assert store.queues.waiting_batches() == set()  # its own monitor may be about to say why
    time.sleep(TIMING.remote_silent_seconds)
    rescue.step()
    assert store.queues.waiting_batches() == {(job.id, 0)}
    assert recovered(connection) == {"lease": 1}


def test_a_batch_lost_between_queue_and_claim_is_found_at_once_when_a_worker_died(
    connection: redis.Redis, store: JobStore, rescue: Rescue, accept: Accept, logged: Logged
) -> None:
    job = accept(2)
    rescue.step()  # the first look is thorough; the next is only after seconds
    connection.rpop("rq:queue:bulk")
    rescue.step()
    assert store.queues.waiting_batches() == {(job.id, 0)}
    rescue.worker_exited(ExitReport("worker-1", None, in_order=False))
    rescue.step()
    assert store.queues.waiting_batches() == {(job.id, 0), (job.id, 1)}
    assert recovered(connection) == {"lost": 1}
    [line] = logged("batch runs again")
    assert line.endswith(f" request=r-1 job={job.id} batch=1 cause=lost")


def test_a_report_is_not_forgotten_while_redis_is_away(
    connection: redis.Redis,
    store: JobStore,
    rescue: Rescue,
    accept: Accept,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = accept(2)
    rescue.step()
    connection.rpop("rq:queue:bulk")
    rescue.worker_exited(ExitReport("worker-1", None, in_order=False))
    with monkeypatch.context() as patch:
        patch.setattr(rescue._heartbeats, "alive", _away)
        with pytest.raises(redis.exceptions.ConnectionError):
            rescue.step()
    rescue.step()
    assert store.queues.waiting_batches() == {(job.id, 0), (job.id, 1)}


def _away() -> dict[str, Heartbeat]:
    raise redis.exceptions.ConnectionError("away")


def step_until_killed(
    worker: subprocess.Popen[bytes], rescue: Rescue, before_each_step: Callable[[], object] = str
) -> None:
    def is_killed() -> bool:
        before_each_step()
        rescue.step()
        return worker.poll() == -signal.SIGKILL

    until(is_killed)


def test_a_hung_workers_batch_is_taken_by_killing_the_worker(
    connection: redis.Redis,
    store: JobStore,
    rescue: Rescue,
    accept: Accept,
    beat: Beat,
    spawn: Spawn,
    take: Take,
    logged: Logged,
) -> None:
    job, worker = accept(), spawn()
    started = time.monotonic()
    take(beat("worker-1", worker.pid), job, 0)
    rescue.step()
    assert worker.poll() is None
    step_until_killed(worker, rescue, lambda: beat("worker-1", worker.pid))
    assert time.monotonic() - started > BATCH_SECONDS
    rescue.worker_exited(ExitReport("worker-1", worker.pid, in_order=False))
    rescue.step()
    assert store.queues.waiting_batches() == {(job.id, 0)}
    assert recovered(connection) == {"hung": 1}
    [line] = logged("worker killed")
    assert f" request=r-1 job={job.id} batch=0 " in line


def test_a_worker_that_waits_for_a_processor_has_not_hung(
    rescue: Rescue, accept: Accept, beat: Beat, take: Take
) -> None:
    busy = [sys.executable, "-c", "while True: pass"]
    one = {min(os.sched_getaffinity(0))}
    with ExitStack() as started:
        worker, other = (started.enter_context(subprocess.Popen(busy)) for _ in range(2))
        started.callback(other.kill)
        started.callback(worker.kill)
        for process in (worker, other):
            os.sched_setaffinity(process.pid, one)
        os.setpriority(os.PRIO_PROCESS, worker.pid, 19)
        take(beat("worker-1", worker.pid), accept(), 0)
        rescue.step()
        time.sleep(1.5 * BATCH_SECONDS)
        beat("worker-1", worker.pid)
        rescue.step()
        assert worker.poll() is None
        other.kill()  # from now on the worker works, and does not end
        os.sched_setaffinity(worker.pid, os.sched_getaffinity(0))
        with suppress(PermissionError):  # only root may; others' work must then leave it some of a processor
            os.setpriority(os.PRIO_PROCESS, worker.pid, 0)
        step_until_killed(worker, rescue, lambda: beat("worker-1", worker.pid))


def test_a_worker_that_says_in_time_that_it_is_still_at_it_may_hold_a_batch_longer(
    store: JobStore, rescue: Rescue, accept: Accept, beat: Beat, spawn: Spawn, take: Take
) -> None:
    rescue._timeout = 2 * BATCH_SECONDS
    job, worker = accept(), spawn()
    heartbeat = beat("worker-1", worker.pid)
    take(heartbeat, job, 0)
    rescue.step()
    for _ in range(3):
        time.sleep(0.4 * rescue._timeout)  # together more than it may take
        beat("worker-1", worker.pid)
        rescue.step()
        assert store.transitions.claim(job.id, 0, heartbeat.name, heartbeat.token) is Claim.RUN
    assert worker.poll() is None


def test_no_process_outside_the_appliance_is_ever_killed(
    connection: redis.Redis,
    store: JobStore,
    programs: Programs,
    accept: Accept,
    beat: Beat,
    spawn: Spawn,
    take: Take,
) -> None:
    supervisor, stranger = spawn(), spawn()
    recovery = Recovery(connection, store)
    rescue = Rescue(
        connection,
        recovery,
        Counters(connection),
        programs,
        WorkerExits(Machine(HOST, supervisor.pid), threading.Event()),
        batch_timeout_seconds=0,
    )
    take(beat("worker-1", stranger.pid), accept(), 0)
    rescue.step()
    time.sleep(0.05)
    rescue.step()
    assert stranger.poll() is None


def test_a_worker_that_runs_and_is_never_heard_of_is_killed(
    rescue: Rescue, programs: Programs, spawn: Spawn, beat: Beat, connection: redis.Redis
) -> None:
    rescue._timing = replace(TIMING, silent_worker_seconds=0)
    silent, speaking = spawn(), spawn()
    report(programs, Program("worker", "worker-1", "RUNNING", silent.pid))
    report(programs, Program("worker", "worker-2", "RUNNING", speaking.pid))
    step_until_killed(silent, rescue, lambda: beat("worker-2", speaking.pid))
    assert speaking.poll() is None
    assert Counters(connection).read()["worker_recycles_total", "silent"] == 1


def test_silence_while_nobody_could_be_heard_does_not_count(
    rescue: Rescue, programs: Programs, spawn: Spawn
) -> None:
    rescue._timing = replace(TIMING, silent_worker_seconds=0, redis_gap_seconds=0.5)
    worker = spawn()
    report(programs, Program("worker", "worker-1", "RUNNING", worker.pid))
    rescue.step()
    time.sleep(2.2)
    rescue.step()
    assert worker.poll() is None


def end_holding(
    rescue: Rescue,
    spawn: Spawn,
    beat: Beat,
    take: Take,
    job: Job,
    *,
    life: int,
    in_order: bool = False,
    reported: bool = True,
) -> None:
    """Have a worker take the job's batch and exit, reported with its process id or without."""
    worker = spawn()
    take(beat("worker-1", worker.pid, token=f"life-{life}"), job, 0)
    rescue.step()
    worker.kill()
    worker.wait()
    rescue.worker_exited(ExitReport("worker-1", worker.pid if reported else None, in_order=in_order))
    rescue.step()


@pytest.mark.parametrize("reported", [True, False], ids=["with its id", "without, since it was young"])
def test_a_batch_that_killed_three_workers_fails_its_job_and_is_not_counted_as_recovered(
    connection: redis.Redis,
    store: JobStore,
    rescue: Rescue,
    spawn: Spawn,
    accept: Accept,
    beat: Beat,
    take: Take,
    *,
    reported: bool,
) -> None:
    job = accept()
    for life in range(3):
        end_holding(rescue, spawn, beat, take, job, life=life, reported=reported)
    assert store.get(job.id).status is Status.FAILED
    assert sum(recovered(connection).values()) == 2


def test_workers_that_leave_in_order_or_in_a_drain_never_make_a_batch_poison(
    connection: redis.Redis,
    store: JobStore,
    rescue: Rescue,
    stopping: threading.Event,
    spawn: Spawn,
    accept: Accept,
    beat: Beat,
    take: Take,
) -> None:
    job = accept()
    for life in range(4):
        end_holding(rescue, spawn, beat, take, job, life=life, in_order=True)
    stopping.set()
    for life in range(4, 8):
        end_holding(rescue, spawn, beat, take, job, life=life)
    assert store.get(job.id).status is Status.RUNNING
    assert recovered(connection) == {"left": 8}
    assert connection.hget(keys.deaths(job.id), "0") is None


def test_a_worker_that_is_killed_for_anothers_memory_counts_less(
    connection: redis.Redis,
    rescue: Rescue,
    exits: WorkerExits,
    spawn: Spawn,
    accept: Accept,
    beat: Beat,
    take: Take,
) -> None:
    job, worker = accept(), spawn()
    take(beat("worker-1", worker.pid), job, 0)
    rescue.step()
    exits.excuse(worker.pid)
    worker.kill()
    worker.wait()
    rescue.worker_exited(ExitReport("worker-1", worker.pid, in_order=False))
    rescue.step()
    assert connection.hget(keys.deaths(job.id), "0") == b"1"


def test_a_stopped_workers_batch_is_given_to_another_only_when_redis_has_answered_long_enough(
    connection: redis.Redis,
    store: JobStore,
    rescue: Rescue,
    accept: Accept,
    beat: Beat,
    spawn: Spawn,
    take: Take,
) -> None:
    job, worker = accept(), spawn()
    heartbeat = beat("worker-1", worker.pid)
    take(heartbeat, job, 0)
    rescue.step()
    worker.send_signal(signal.SIGSTOP)
    until(lambda: is_stopped(worker.pid))  # it must get a processor for that, too
    connection.delete(keys.heartbeat(heartbeat.name))  # as after an outage that was longer than the lease
    rescue.step()
    assert store.queues.waiting_batches() == set()
    rescue._settled_at = 0.0
    rescue.step()
    assert store.queues.waiting_batches() == {(job.id, 0)}
    assert recovered(connection) == {"lease": 1}


def test_a_worker_whose_native_code_lets_no_thread_beat_keeps_its_batch_until_that_hangs(
    connection: redis.Redis,
    store: JobStore,
    rescue: Rescue,
    accept: Accept,
    beat: Beat,
    spawn: Spawn,
    take: Take,
) -> None:
    job, worker = accept(), spawn()
    started = time.monotonic()
    heartbeat = beat("worker-1", worker.pid)
    take(heartbeat, job, 0)
    rescue.step()
    connection.delete(
        keys.heartbeat(heartbeat.name)
    )  # silent for longer than its lease, and at work all the same
    rescue._settled_at = 0.0
    rescue.step()
    assert store.queues.waiting_batches() == set()
    assert worker.poll() is None

    step_until_killed(worker, rescue)
    assert time.monotonic() - started > BATCH_SECONDS
    rescue.worker_exited(ExitReport("worker-1", worker.pid, in_order=False))
    rescue.step()
    assert store.queues.waiting_batches() == {(job.id, 0)}
    assert recovered(connection) == {"hung": 1}
    assert connection.hget(keys.deaths(job.id), "0") == str(int(Blame.DEATH)).encode()


def test_names_of_workers_that_are_gone_are_forgotten(
    connection: redis.Redis, rescue: Rescue, beat: Beat
) -> None:
    beat("worker-1")
    gone = beat("worker-2", host="other")
    connection.delete(keys.heartbeat(gone.name))
    rescue.step()
    assert connection.smembers(keys.WORKERS) == {f"{HOST}/worker-1".encode()}
