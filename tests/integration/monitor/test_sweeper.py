from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import redis

from services.monitor import sweeper as sweeper_module
from services.monitor.sweeper import Sweeper
from shared.errors import JobNotFoundError
from shared.jobs.document import Job, Status
from shared.jobs.ids import new_job_id
from shared.jobs.store import JobStore
from shared.payloads import Payloads

HOUR = 3600.0

type Accept = Callable[..., Job]


@pytest.fixture
def sweeper(connection: redis.Redis, store: JobStore, payloads: Payloads) -> Sweeper:
    return Sweeper(connection, store, payloads, result_ttl_hours=24)


def finish(store: JobStore, job: Job) -> None:
    store.transitions.claim(job.id, 0, "me", "life")
    assert store.transitions.complete(job.id, 0, job.rows, job.model) == "completed"


def old_id(seconds: float) -> str:
    return f"{int((time.time() - seconds) * 1000):012x}{new_job_id()[12:]}"


def test_a_job_is_deleted_after_its_time_and_not_before(
    sweeper: Sweeper, store: JobStore, payloads: Payloads, accept: Accept
) -> None:
    ended, running = accept(), accept()
    finish(store, ended)
    assert sweeper.sweep_expired(time.time() + 23.9 * HOUR) == 0
    assert sweeper.sweep_expired(time.time() + 24.1 * HOUR) == 1
    assert payloads.job_ids() == [running.id]
    with pytest.raises(JobNotFoundError):
        store.get(ended.id)
    assert store.get(running.id).status is Status.QUEUED


def test_dying_between_the_objects_and_the_record_is_made_good_by_the_next_pass(
    sweeper: Sweeper, store: JobStore, payloads: Payloads, accept: Accept
) -> None:
    job = accept()
    finish(store, job)
    payloads.delete_job(job.id)  # and here the monitor died
    assert store.get(job.id).status is Status.COMPLETED
    assert sweeper.sweep_expired(time.time() + 25 * HOUR) == 1
    with pytest.raises(JobNotFoundError):
        store.get(job.id)


def test_an_abandoned_uploads_objects_go_after_an_hour(sweeper: Sweeper, payloads: Payloads) -> None:
    rows = np.zeros((1, 2), np.float32)
    young, old = old_id(0.9 * HOUR), old_id(1.1 * HOUR)
    payloads.put(young, "input", 0, rows)
    payloads.put(old, "input", 0, rows)
    sweeper.step()
    assert payloads.job_ids() == [young]


def test_what_is_no_jobs_object_is_left_alone(sweeper: Sweeper, payloads: Payloads) -> None:
    payloads.put("somebody-elses", "input", 0, np.zeros((1, 2), np.float32))
    sweeper.step()
    assert payloads.job_ids() == ["somebody-elses"]


def test_objects_of_active_and_completed_jobs_stay(
    sweeper: Sweeper, store: JobStore, payloads: Payloads, accept: Accept
) -> None:
    active, completed = accept(), accept()
    finish(store, completed)
    assert sweeper.sweep_objects(time.time() + 23 * HOUR) == 0
    assert sorted(payloads.job_ids()) == sorted([active.id, completed.id])


def test_a_cancelled_jobs_objects_go_when_no_worker_can_be_writing_any_more(
    connection: redis.Redis, store: JobStore, payloads: Payloads, accept: Accept
) -> None:
    job = accept()
    assert store.cancel(job.id)
    assert Sweeper(connection, store, payloads, 24).sweep_objects(time.time() + 60) == 0
    assert Sweeper(connection, store, payloads, 24).sweep_objects(time.time() + 180) == 1
    assert payloads.job_ids() == []
    assert store.get(job.id).status is Status.CANCELLED


def test_a_pass_does_a_bounded_amount_of_work_and_the_next_goes_on(
    sweeper: Sweeper,
    store: JobStore,
    payloads: Payloads,
    accept: Accept,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeper_module, "JOBS_PER_PASS", 2)
    monkeypatch.setattr(sweeper_module, "PASS_SECONDS", -1.0)  # no time for a second helping
    for _ in range(3):
        finish(store, accept())
        payloads.put(old_id(2 * HOUR), "input", 0, np.zeros((1, 2), np.float32))
    later = time.time() + 25 * HOUR
    assert [sweeper.sweep_expired(later) for _ in range(3)] == [2, 1, 0]
    assert [sweeper.sweep_objects(time.time()) for _ in range(3)] == [2, 1, 0]


def test_ended_jobs_go_before_their_time_when_redis_is_nearly_full_and_running_ones_stay(
    sweeper: Sweeper, store: JobStore, accept: Accept, connection: redis.Redis
) -> None:
    ended, running = accept(), accept()
    finish(store, ended)
    assert sweeper.relieve_redis(time.time() + 1) == 0  # no limit is set

    connection.config_set("maxmemory", connection.info("memory")["used_memory"])
    assert sweeper.relieve_redis(time.time() + 1) == 1

    connection.config_set("maxmemory", 0)
    with pytest.raises(JobNotFoundError):
        store.get(ended.id)
    assert store.get(running.id).status is Status.QUEUED
