"""The sweeper's deletions, their times and order, and what stays; the sync of Redis's file."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import redis

from services.monitor import sweeper as sweeper_module
from services.monitor.redis_upkeep import EvictionWatch
from services.monitor.sweeper import Sweeper
from shared.errors import JobNotFoundError
from shared.explanation import Explanation
from shared.jobs.document import Job, Status
from shared.jobs.ids import new_job_id
from shared.objects.payloads import Payloads
from shared.redis.aof_sync import AofSync
from shared.settings import Settings
from tests.integration.conftest import Logged
from tests.integration.monitor.conftest import Scene
from tests.support.redis_server import until
from tests.support.stored_rows import put_in_folder, put_one_row

HOUR = 3600.0


@pytest.fixture
def sweeper(scene: Scene) -> Sweeper:
    return Sweeper(scene.connection, scene.store, scene.payloads, result_ttl_hours=24)


def finished(scene: Scene, batches: int = 1) -> Job:
    """Accept a job and complete it."""
    job = scene.accept(batches)
    for batch in range(batches):
        scene.store.transitions.claim(job.id, batch, "me", "life")
        scene.store.transitions.complete(job.id, batch, 10, job.model, 0.0)
    assert scene.store.get(job.id).status is Status.COMPLETED
    return job


class Clock:
    """The sweeper's monotonic clock, which tests move."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sweeper_module, "time", clock)
    return clock


def known(scene: Scene, *jobs: Job) -> list[bool]:
    return [list(scene.store.requests([job.id])) == [job.id] for job in jobs]


def test_a_job_is_deleted_after_its_time_and_not_before_though_the_monitor_died_in_the_middle(
    sweeper: Sweeper, scene: Scene, logged: Logged
) -> None:
    ended, half, running = finished(scene), finished(scene), scene.accept()
    scene.payloads.delete_job(half.id)  # and here the monitor died
    assert sweeper.sweep_expired(time.time() + 23.9 * HOUR) == 0
    assert sweeper.sweep_objects(time.time() + 23 * HOUR) == 0
    assert sorted(scene.payloads.job_ids()) == sorted([ended.id, running.id])
    assert sweeper.sweep_expired(time.time() + 24.1 * HOUR) == 2
    assert scene.payloads.job_ids() == [running.id]
    assert f" request=r-1 job={ended.id}" in logged("expired job deleted")[0]
    for job in (ended, half):
        with pytest.raises(JobNotFoundError):
            scene.store.get(job.id)
    assert scene.store.get(running.id).status is Status.QUEUED


def test_an_abandoned_uploads_objects_go_after_an_hour_and_what_is_no_jobs_stays(
    sweeper: Sweeper, scene: Scene, clock: Clock
) -> None:
    payloads, old, young = scene.payloads, new_job_id(), new_job_id()
    put_one_row(payloads, "somebody-elses")
    put_in_folder(payloads, old, "input", 0, np.zeros((1, 2), np.float32))
    sweeper.step()
    put_one_row(payloads, young)
    clock.ahead = 0.9 * HOUR
    sweeper.step()
    assert len(payloads.job_ids()) == 3
    clock.ahead = 1.1 * HOUR
    accepted = scene.accept()  # an upload that took as long
    put_one_row(payloads, accepted.id)
    sweeper._jobless[accepted.id] = 0.0
    sweeper.step()
    assert sorted(payloads.job_ids()) == sorted([young, accepted.id, "somebody-elses"])


def test_a_cancelled_jobs_objects_go_when_no_worker_can_be_writing_and_so_does_a_late_result(
    scene: Scene, sweeper: Sweeper, logged: Logged
) -> None:
    job, now = scene.accept(), time.time()
    scene.store.transitions.claim(job.id, 0, "me", "life")
    assert scene.store.cancel(job.id)
    assert sweeper.sweep_objects(now + 60) == 0
    scene.payloads.delete_job(job.id)  # what the api does
    rows, values = np.zeros((10, 2), np.float32), np.zeros((10, 1, 4), np.float32)
    scene.payloads.put_result(job, 0, rows, Explanation(values))  # the worker has not heard of it
    assert scene.store.transitions.complete(job.id, 0, 1, job.model, 0.0) == "ended"
    sweeper._listing_due = 0.0
    assert sweeper.sweep_objects(now + 180) == 1
    assert scene.payloads.job_ids() == []
    assert scene.store.get(job.id).status is Status.CANCELLED
    assert f" request=r-1 job={job.id}" in logged("left-over objects deleted")[0]


def test_a_pass_does_a_bounded_amount_of_work_and_the_next_goes_on(
    sweeper: Sweeper, scene: Scene, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        finished(scene)
        put_one_row(scene.payloads, new_job_id())
    sweeper.sweep_objects(time.time())
    clock.ahead = 2 * HOUR
    monkeypatch.setattr(sweeper_module, "PASS_SECONDS", -1.0)  # no time at all
    later = time.time() + 25 * HOUR
    assert [sweeper.sweep_expired(later) for _ in range(4)] == [1, 1, 1, 0]
    assert [sweeper.sweep_objects(time.time()) for _ in range(4)] == [1, 1, 1, 0]
    monkeypatch.setattr(sweeper_module, "RQ_RECORDS_PER_PASS", 500)
    waiting, strangers = scene.accept(2), 1500
    for number in range(strangers):
        scene.connection.hset(f"rq:job:{new_job_id()}-{number}-abc", "status", "queued")
    passes = [sweeper.sweep_rq_records(time.time()) for _ in range(12)]
    assert 0 < passes[0] < strangers
    assert sum(passes) == strangers + 3  # and those of the ended jobs
    left = sorted(name.decode().split("-")[:2] for name in scene.connection.scan_iter("rq:job:*"))
    assert left == [[f"rq:job:{waiting.id}", "0"], [f"rq:job:{waiting.id}", "1"]]


def test_early_deletion_stops_where_ended_jobs_hold_little_and_running_ones_stay(
    sweeper: Sweeper, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, running = [finished(scene) for _ in range(4)], scene.accept()
    assert sweeper.relieve_redis(time.time() + 1) == 0  # no limit is set
    used = scene.connection.info("memory")["used_memory"]
    scene.connection.config_set("maxmemory", used)
    assert sweeper.relieve_redis(time.time() + 1) == 0  # four ended jobs do not fill it: something else does
    monkeypatch.setattr(sweeper_module, "JOBS_PER_STEP", 1)
    monkeypatch.setattr(sweeper_module, "ENDED_JOB_BYTES", used // 25)  # as if they were many
    assert sweeper.relieve_redis(time.time() + 1) == 2  # two of them are less than a tenth
    assert known(scene, *ended, running) == [False, False, True, True, True]


def test_leftovers_go_sooner_once_another_api_has_started_or_while_the_disk_is_nearly_full(
    scene: Scene,
    payloads: Payloads,
    settings: Settings,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = new_job_id(), new_job_id()
    ages = [None, None, 30.0, 450.0, 350.0, None, None]
    made = Sweeper(scene.connection, scene.store, payloads, 24, settings.objects_dir, ages.pop)
    ages.reverse()
    put_one_row(payloads, first)
    made.step()
    put_one_row(payloads, second)
    clock.ahead = 400.0
    for _ in range(3):  # nobody knows; the api may just have been replaced; it had begun before
        made._listing_due = 0.0
        made.step()
        assert len(payloads.job_ids()) == 2
    made._listing_due = 0.0
    made.step()
    assert payloads.job_ids() == [second]
    clock.ahead = 1100.0
    made.step()  # the next listing is due in minutes
    monkeypatch.setattr(sweeper_module, "PRESSED_BYTES", 2**62)
    made.step()
    assert payloads.job_ids() == []
    assert ages == []


def test_where_redis_refuses_writes_the_objects_go_all_the_same_and_the_records_later(
    sweeper: Sweeper, scene: Scene, clock: Clock
) -> None:
    put_one_row(scene.payloads, new_job_id())
    sweeper.step()
    clock.ahead = 2 * HOUR
    ended = [finished(scene) for _ in range(3)]
    for job in ended:
        scene.connection.zadd("shapbox:finished", {job.id: time.time() - 25 * HOUR})
    scene.connection.config_set("min-replicas-to-write", 1)  # refuses all writes, as a full disk does
    with pytest.raises(redis.exceptions.ResponseError):
        sweeper.step()
    assert scene.payloads.job_ids() == []
    assert all(known(scene, *ended))
    scene.connection.config_set("min-replicas-to-write", 0)
    sweeper.step()
    assert not any(known(scene, *ended))


def test_the_file_that_redis_appends_to_is_synced_when_it_has_grown_or_was_rewritten(
    settings: Settings, connection: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", synced.append)
    AofSync(tmp_path).step()  # where there is no file there is nothing to do
    sync = AofSync(settings.redis_socket.parent)  # where the test's server keeps its files
    for _ in range(2):
        connection.set("a", "1")
        sync.step()
        sync.step()
    assert len(synced) == 2
    before = {*sync._synced}
    connection.bgrewriteaof()
    until(lambda: not connection.info("persistence")["aof_rewrite_in_progress"])
    connection.set("a", "3")
    sync.step()
    assert {*sync._synced} != before
    assert len(synced) == 3


def test_a_redis_that_may_evict_is_warned_of_once_with_the_remedy(
    connection: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    watch = EvictionWatch(connection)
    watch.step()
    assert caplog.messages == []
    connection.config_set("maxmemory-policy", "allkeys-lru")
    watch.step()
    watch.step()
    [warning] = caplog.messages
    assert "CONFIG SET maxmemory-policy noeviction" in warning


def test_an_upload_in_progress_outlasts_a_jump_of_the_clock_and_a_monitor_that_starts_then(
    sweeper: Sweeper, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = new_job_id()
    put_one_row(scene.payloads, job_id)
    monkeypatch.setattr(scene.connection, "time", lambda: (int(time.time() + 3 * HOUR), 0))
    sweeper.step()
    assert scene.payloads.job_ids() == [job_id]
