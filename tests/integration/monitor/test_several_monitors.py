"""Several appliances on one Redis: each monitor does its share, and duties happen once."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from services.monitor.events.listener import ExitReport
from services.monitor.events.programs import Programs
from services.monitor.recovery.rescue import Rescue
from services.monitor.recovery.worker_exits import Machine, WorkerExits
from services.monitor.redis_upkeep import EvictionWatch
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat
from shared.jobs import keys
from shared.jobs.document import Job
from shared.jobs.recovery import Blame, Recovery, Running
from shared.jobs.store import JobStore
from shared.settings import Settings
from shared.timing import TIMING

type Accept = Callable[..., Job]
type Beat = Callable[..., Heartbeat]
type Spawn = Callable[..., subprocess.Popen[bytes]]
type Take = Callable[[Heartbeat, Job, int], None]


@pytest.fixture
def monitor_of(connection: redis.Redis, store: JobStore, settings: Settings) -> Callable[[str], Rescue]:
    """Make the recovery of an appliance's monitor, as if it had run for long."""

    def make(host: str) -> Rescue:
        exits = WorkerExits(Machine(host, os.getpid()), threading.Event())
        recovery, counters = Recovery(connection, store), Counters(connection)
        rescue = Rescue(connection, recovery, counters, Programs(), exits, settings.batch_timeout_seconds)
        rescue.step()
        rescue._settled_at = 0.0
        return rescue

    return make


def recovered(connection: redis.Redis) -> dict[str, float]:
    sums = Counters(connection).read()
    return {key[1]: value for key, value in sums.items() if key[0] == "batches_recovered_total"}


def test_a_killed_workers_batch_is_its_own_monitors_to_give_back_though_another_looks_in_between(
    connection: redis.Redis,
    store: JobStore,
    monitor_of: Callable[[str], Rescue],
    accept: Accept,
    beat: Beat,
    spawn: Spawn,
    take: Take,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, other = monitor_of("here"), monitor_of("other")
    job, worker = accept(), spawn()
    take(beat("worker-1", worker.pid, host="here"), job, 0)
    here.step()
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    release = here._recovery.release

    def release_after_the_other_looked(orphan: Running, blame: Blame) -> Any:
        other.step()  # the heartbeat has expired by now
        return release(orphan, blame)

    monkeypatch.setattr(here._recovery, "release", release_after_the_other_looked)
    here.worker_exited(ExitReport("worker-1", worker.pid, in_order=False))
    here.step()

    assert store.queues.waiting_batches() == {(job.id, 0)}
    assert recovered(connection) == {"worker_died": 1}
    assert connection.hget(keys.deaths(job.id), "0") == str(int(Blame.DEATH)).encode()


def test_a_vanished_appliances_batches_are_queued_and_counted_once_by_all_monitors_together(
    connection: redis.Redis,
    store: JobStore,
    monitor_of: Callable[[str], Rescue],
    accept: Accept,
    beat: Beat,
    take: Take,
) -> None:
    monitors = [monitor_of(host) for host in ("api", "box-2", "box-3")]
    job = accept(3)
    for number in (1, 2):
        heartbeat = beat(f"worker-{number}", host="vanished", pid=999_999_990 + number)
        take(heartbeat, job, number)
        connection.delete(keys.heartbeat(heartbeat.name))
    for _ in range(2):
        for monitor in monitors:
            monitor.step()
        time.sleep(TIMING.remote_silent_seconds)
    for monitor in monitors:
        monitor.step()

    assert connection.llen("rq:queue:bulk") == 3
    assert store.queues.waiting_batches() == {(job.id, batch) for batch in range(3)}
    assert recovered(connection) == {"lease": 2}


def test_a_machines_name_shared_by_two_appliances_ends_neithers_workers(
    store: JobStore,
    monitor_of: Callable[[str], Rescue],
    accept: Accept,
    beat: Beat,
    spawn: Spawn,
    take: Take,
) -> None:
    first, second = monitor_of("same-1234abcd"), monitor_of("same-5678abcd")
    job, worker = accept(2), spawn()
    take(beat("worker-1", worker.pid, host="same-1234abcd"), job, 0)
    # The same process name, and an id that is nobody's here: the other container counts its own.
    take(beat("worker-1", 999_999_999, host="same-5678abcd", token="life-9"), job, 1)
    for _ in range(3):
        first.step()
    assert store.queues.waiting_batches() == set()
    second.worker_exited(ExitReport("worker-1", 999_999_999, in_order=False))
    second.step()
    assert store.queues.waiting_batches() == {(job.id, 1)}


def test_a_redis_that_may_evict_is_warned_of_once_with_the_remedy(
    connection: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    watch = EvictionWatch(connection)
    with caplog.at_level(logging.WARNING):
        watch.step()
        assert caplog.messages == []
        connection.config_set("maxmemory-policy", "allkeys-lru")
        watch.step()
        watch.step()
    assert len(caplog.messages) == 1
    assert "allkeys-lru" in caplog.text
    assert "CONFIG SET maxmemory-policy noeviction" in caplog.text
