"""What is promised to jobs is kept for their results, and no longer than that."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from services.api.capacity import results as result_room_module
from services.api.capacity.disk import RESERVE_BYTES
from services.api.capacity.results import ResultRoom, result_bytes
from shared.errors import StorageFullError
from shared.jobs.document import Job, Method
from shared.jobs.ids import new_job_id
from shared.jobs.store import JobStore
from shared.settings import Settings

MB = 2**20


@pytest.fixture
def room(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ResultRoom:
    """A disk with 100 MB above the reserve."""
    monkeypatch.setattr(result_room_module, "free_bytes", lambda _settings: RESERVE_BYTES + 100 * MB)
    return ResultRoom(settings)


def job_of(batches: int) -> Job:
    return Job(
        id=new_job_id(),
        model="wine@1",
        method=Method.TREE_PATH_DEPENDENT,
        rows=batches * 10,
        batch_rows=10,
        features=2,
        outputs=1,
        created_at=time.time(),
    )


def room_left(room: ResultRoom) -> int:
    """Return how many MB can still be promised."""
    for megabytes in range(100, -1, -1):
        try:
            room.promise("test", megabytes * MB)
        except StorageFullError:
            continue
        finally:
            room.release("test")
        return megabytes
    return -1


def test_what_is_promised_to_one_job_is_no_room_for_another(room: ResultRoom) -> None:
    room.promise("one", 30 * MB)
    room.promise("one", 30 * MB)  # batch by batch, as the rows come in
    room.settle("one")
    with pytest.raises(StorageFullError):
        room.promise("two", 41 * MB)
    room.release("two")
    assert room_left(room) == 40
    room.release("one")
    assert room_left(room) == 100


def test_room_is_given_back_as_results_are_made_and_when_the_job_has_ended(
    room: ResultRoom, store: JobStore
) -> None:
    job = job_of(batches=4)
    room.promise(job.id, 80 * MB)  # more than it takes: the refresh knows better
    store.accept(job)
    room.settle(job.id)
    room.refresh(store)
    assert room._total == 4 * result_bytes(10, 2, 1)
    store.transitions.claim(job.id, 0, "me", "life")
    store.transitions.complete(job.id, 0, 10, job.model, 0.0)
    room.refresh(store)
    assert room._total == 3 * result_bytes(10, 2, 1)
    store.cancel(job.id)
    room.refresh(store)
    assert room._total == 0


def test_what_is_on_its_way_in_is_kept_by_a_refresh_and_what_came_to_nothing_is_not(
    room: ResultRoom, store: JobStore
) -> None:
    room.promise("entering", 10 * MB)
    room.promise("lost", 20 * MB)  # Redis went away in the accepting transaction
    room.settle("lost")
    room.refresh(store)
    assert room_left(room) == 90
    room.settle("entering")
    room.refresh(store)
    assert room_left(room) == 100


def test_an_earlier_lifes_jobs_are_taken_over(settings: Settings, store: JobStore) -> None:
    job = store.accept(job_of(batches=3)).job
    fresh = ResultRoom(settings)
    fresh.refresh(store)
    assert fresh._total == job.batches * result_bytes(10, 2, 1)


def test_a_job_that_is_accepted_and_not_settled_yet_is_counted_once(
    room: ResultRoom, store: JobStore
) -> None:
    job = job_of(batches=1)
    room.promise(job.id, result_bytes(10, 2, 1))
    store.accept(job)
    room.refresh(store)
    assert room._total == result_bytes(10, 2, 1)


def test_a_store_elsewhere_is_not_bounded(settings: Settings, tmp_path: Path) -> None:
    remote = ResultRoom(replace(settings, storage_url="s3://somewhere", data_dir=tmp_path))
    remote.promise("one", 2**60)
