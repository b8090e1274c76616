from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import redis

from services.monitor import sweeper as sweeper_module
from services.monitor.sweeper import Sweeper
from shared.errors import JobNotFoundError
from shared.explanation import Explanation
from shared.jobs.document import Job, Status
from shared.jobs.ids import new_job_id
from shared.jobs.store import JobStore
from shared.objects.payloads import Payloads
from shared.settings import Settings
from tests.integration.conftest import Logged
from tests.support.stored_rows import put_in_folder, put_one_row

HOUR = 3600.0

type Accept = Callable[..., Job]


@pytest.fixture
def sweeper(connection: redis.Redis, store: JobStore, payloads: Payloads) -> Sweeper:
    return Sweeper(connection, store, payloads, result_ttl_hours=24)


def finish(store: JobStore, job: Job) -> None:
    store.transitions.claim(job.id, 0, "me", "life")
    assert store.transitions.complete(job.id, 0, job.rows, job.model, 0.0) == "completed"


def old_id(seconds: float) -> str:
    return f"{int((time.time() - seconds) * 1000):012x}{new_job_id()[12:]}"


def test_a_job_is_deleted_after_its_time_and_not_before(
    sweeper: Sweeper, store: JobStore, payloads: Payloads, accept: Accept, logged: Logged
) -> None:
    ended, running = accept(), accept()
    finish(store, ended)
    assert sweeper.sweep_expired(time.time() + 23.9 * HOUR) == 0
    assert sweeper.sweep_expired(time.time() + 24.1 * HOUR) == 1
    assert payloads.job_ids() == [running.id]
    [line] = logged("expired job deleted")
    assert f" request=r-1 job={ended.id}" in line
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
    young, old = old_id(0.9 * HOUR), old_id(1.1 * HOUR)
    put_one_row(payloads, young)
    put_in_folder(payloads, old, "input", 0, np.zeros((1, 2), np.float32))
    sweeper.step()
    assert payloads.job_ids() == [young]


def test_what_is_no_jobs_object_is_left_alone(sweeper: Sweeper, payloads: Payloads) -> None:
    put_one_row(payloads, "somebody-elses")
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
    monkeypatch.setattr(sweeper_module, "PASS_SECONDS", -1.0)  # no time at all
    for _ in range(3):
        finish(store, accept())
        put_one_row(payloads, old_id(2 * HOUR))
    later = time.time() + 25 * HOUR
    assert [sweeper.sweep_expired(later) for _ in range(4)] == [1, 1, 1, 0]
    assert [sweeper.sweep_objects(time.time()) for _ in range(4)] == [1, 1, 1, 0]


def test_ten_thousand_expired_jobs_and_a_thousand_orphans_are_swept_in_passes_of_bounded_time(
    connection: redis.Redis,
    store: JobStore,
    settings: Settings,
    payloads: Payloads,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeper_module, "PASS_SECONDS", 0.5)
    sweeper = Sweeper(connection, store, payloads, result_ttl_hours=24)
    with connection.pipeline(transaction=False) as pipe:  # as the end of a job leaves them, an hour before
        for _ in range(10_000):
            job_id = old_id(26 * HOUR)
            fields = {"status": "completed", "idempotency": ""}
            pipe.hset(f"shapbox:job:{job_id}", mapping=fields)  # type: ignore[arg-type]
            pipe.zadd("shapbox:jobs", {job_id: 0})
            pipe.zadd("shapbox:jobs:completed", {job_id: 0})
            pipe.zadd("shapbox:finished", {job_id: time.time() - 25 * HOUR})
        pipe.execute()
    for _ in range(1000):
        folder = settings.objects_dir / "jobs" / old_id(2 * HOUR) / "input"
        folder.mkdir(parents=True)
        (folder / "000000.npy").write_bytes(b"x")
    passes = [0.0]
    while connection.zcard("shapbox:finished") or payloads.job_ids():
        started = time.monotonic()
        sweeper.step()
        passes.append(time.monotonic() - started)
        assert len(passes) < 1000
    assert len(passes) > 2  # one pass has not the time for all
    assert max(passes) < 20  # two duties of half a second, on a busy machine
    assert store.counts()[Status.COMPLETED] == 0


def test_early_deletion_stops_where_ended_jobs_hold_little_and_running_ones_stay(
    sweeper: Sweeper,
    store: JobStore,
    accept: Accept,
    connection: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended, running = [accept() for _ in range(4)], accept()
    for job in ended:
        finish(store, job)
    assert sweeper.relieve_redis(time.time() + 1) == 0  # no limit is set

    used = connection.info("memory")["used_memory"]
    connection.config_set("maxmemory", used)
    assert sweeper.relieve_redis(time.time() + 1) == 0  # four ended jobs do not fill it: something else does
    monkeypatch.setattr(sweeper_module, "JOBS_PER_STEP", 1)
    monkeypatch.setattr(sweeper_module, "ENDED_JOB_BYTES", used // 25)  # as if they were many
    assert sweeper.relieve_redis(time.time() + 1) == 2  # two of them are less than a tenth

    connection.config_set("maxmemory", 0)
    assert [exists(store, job) for job in ended] == [False, False, True, True]
    assert store.get(running.id).status is Status.QUEUED


def test_an_upload_of_an_api_that_died_goes_soon_after_the_next_one_has_started(
    connection: redis.Redis, store: JobStore, payloads: Payloads
) -> None:
    now = time.time()
    before, after = old_id(200), old_id(90)
    for job_id in (before, after):
        put_one_row(payloads, job_id)
    started: float | None = None

    def sweep() -> int:
        return Sweeper(connection, store, payloads, 24, api_started=lambda: started).sweep_objects(now)

    assert sweep() == 0  # nobody knows
    started = now - 30
    assert sweep() == 0  # it may be on its way
    started = now - 100
    assert sweep() == 1
    assert payloads.job_ids() == [after]


def test_a_disk_that_is_nearly_full_makes_the_sweeper_look_at_once_and_wait_less(
    connection: redis.Redis,
    store: JobStore,
    payloads: Payloads,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweeper = Sweeper(connection, store, payloads, 24, settings.objects_dir)
    sweeper.step()  # the listing: the next one is due in minutes
    young, older = old_id(300), old_id(900)
    for job_id in (young, older):
        put_one_row(payloads, job_id)
    sweeper.step()
    assert sorted(payloads.job_ids()) == sorted([young, older])
    monkeypatch.setattr(sweeper_module, "PRESSED_BYTES", 2**62)
    sweeper.step()
    assert payloads.job_ids() == [young]


def test_where_redis_refuses_writes_the_objects_go_all_the_same_and_the_records_later(
    sweeper: Sweeper,
    store: JobStore,
    payloads: Payloads,
    accept: Accept,
    connection: redis.Redis,
) -> None:
    ended = [accept() for _ in range(3)]
    for job in ended:
        finish(store, job)
        connection.zadd("shapbox:finished", {job.id: time.time() - 25 * HOUR})
    orphan = old_id(2 * HOUR)
    put_one_row(payloads, orphan)
    connection.config_set("min-replicas-to-write", 1)  # refuses all writes, as a full disk does
    with pytest.raises(redis.exceptions.ResponseError):
        sweeper.step()
    assert payloads.job_ids() == []
    assert all(exists(store, job) for job in ended)
    connection.config_set("min-replicas-to-write", 0)
    sweeper.step()
    assert not any(exists(store, job) for job in ended)


def test_a_result_that_is_written_after_the_cancelling_goes_as_well(
    connection: redis.Redis, store: JobStore, payloads: Payloads, accept: Accept, logged: Logged
) -> None:
    job = accept()
    store.transitions.claim(job.id, 0, "me", "life")
    assert store.cancel(job.id)
    payloads.delete_job(job.id)  # what the api does
    rows, values = np.zeros((10, 2), np.float32), np.zeros((10, 1, 4), np.float32)
    payloads.put_result(job, 0, rows, Explanation(values))  # the worker has not heard of it
    assert store.transitions.complete(job.id, 0, 1, job.model, 0.0) == "ended"
    assert Sweeper(connection, store, payloads, 24).sweep_objects(time.time() + 180) == 1
    assert payloads.job_ids() == []
    [line] = logged("left-over objects deleted")
    assert f" request=r-1 job={job.id}" in line


def exists(store: JobStore, job: Job) -> bool:
    return list(store.requests([job.id])) == [job.id]


def test_rqs_records_of_ended_jobs_go_and_those_of_others_stay(
    connection: redis.Redis, sweeper: Sweeper, store: JobStore, accept: Accept
) -> None:
    ended, waiting = accept(), accept(2)
    # As a worker leaves it that was killed: out of the queue, and RQ's record stays.
    assert connection.lpop("rq:queue:interactive")
    finish(store, ended)
    assert len(list(connection.scan_iter("rq:job:*"))) == 3
    assert sweeper.sweep_rq_records(time.time()) == 1
    left = [name.decode() for name in connection.scan_iter("rq:job:*")]
    assert sorted(name.split("-")[:2] for name in left) == [
        [f"rq:job:{waiting.id}", "0"],
        [f"rq:job:{waiting.id}", "1"],
    ]


def test_many_records_are_looked_at_in_turns(
    connection: redis.Redis, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper_module, "RQ_RECORDS_PER_PASS", 500)
    for number in range(2000):
        connection.hset(f"rq:job:{new_job_id()}-{number}-abc", "status", "queued")
    passes = [sweeper.sweep_rq_records(time.time()) for _ in range(20)]
    assert 0 < passes[0] < 2000
    assert sum(passes) == 2000
