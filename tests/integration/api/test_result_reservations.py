"""Room on the disk is reserved for the results of jobs until they are made."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from services.api.capacity import results as results_module
from services.api.capacity.results import Need, ResultReservations, result_bytes
from shared.disk import RESERVE_BYTES, RESERVE_INODES, FreeSpace
from shared.errors import StorageFullError
from shared.interactions import Interactions
from shared.jobs.document import Job, Method
from shared.jobs.ids import new_job_id
from shared.jobs.store import JobStore
from shared.settings import Settings

MB = 2**20


@pytest.fixture
def room(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ResultReservations:
    """A disk with 100 MB and 100 inodes above the reserve."""
    space = FreeSpace(RESERVE_BYTES + 100 * MB, RESERVE_INODES + 100, 2**40)
    monkeypatch.setattr(results_module, "free_space", lambda _folder: space)
    return ResultReservations(settings.objects_dir)


def job_of(batches: int) -> Job:
    rows, method = batches * 10, Method.TREE_PATH_DEPENDENT
    return Job(new_job_id(), "wine@1", method, rows, 10, features=2, outputs=1, created_at=time.time())


def test_room_reserved_for_one_job_is_not_free_for_another(room: ResultReservations) -> None:
    room.reserve("one", Need(30 * MB, 30))
    room.reserve("one", Need(30 * MB, 30))  # batch by batch, as the rows come in
    room.settle("one")
    for too_much in (Need(41 * MB), Need(inodes=41)):
        with pytest.raises(StorageFullError):
            room.reserve("two", too_much)
        room.release("two")
    room.reserve("two", Need(40 * MB, 40))
    room.release("two")
    room.release("one")
    room.reserve("three", Need(100 * MB, 100))


def test_room_is_released_as_results_are_made_and_at_the_jobs_end(
    room: ResultReservations, store: JobStore
) -> None:
    job = job_of(batches=4)
    room.reserve(job.id, Need(80 * MB))  # more than it takes: the refresh knows better
    store.accept(job)
    room.settle(job.id)
    room.refresh(store)
    assert room._total.bytes == 4 * result_bytes(10, 2, 1)
    store.transitions.claim(job.id, 0, "me", "life")
    store.transitions.complete(job.id, 0, 10, job.model, 0.0)
    room.refresh(store)
    assert room._total.bytes == 3 * result_bytes(10, 2, 1)
    store.cancel(job.id)
    room.refresh(store)
    assert room._total.bytes == 0


def test_a_refresh_keeps_what_is_entering_drops_what_was_lost_and_counts_jobs_once(
    room: ResultReservations, settings: Settings, store: JobStore
) -> None:
    room.reserve("entering", Need(10 * MB))
    room.reserve("lost", Need(20 * MB))  # Redis went away in the accepting transaction
    room.settle("lost")
    room.refresh(store)
    assert room._total.bytes == 10 * MB
    room.settle("entering")
    job = job_of(batches=1)
    room.reserve(job.id, Need(result_bytes(10, 2, 1)))
    store.accept(job)
    for reservations in (room, ResultReservations(settings.local_objects_dir)):  # also of an earlier process
        reservations.refresh(store)
        assert reservations._total.bytes == result_bytes(10, 2, 1)


def test_files_and_folders_take_inodes_and_a_remote_store_is_not_limited(settings: Settings) -> None:
    wide = replace(job_of(batches=2), features=10_000)
    assert Need.of_batch(job_of(batches=1), 10).inodes == 0
    assert Need.of_batch(wide, 10).inodes == 1
    assert Need.of_batch(replace(wide, interactions=Interactions()), 10).inodes == 2
    assert Need.of_rest(replace(job_of(batches=1), todo=1)).inodes == 0
    large = replace(job_of(batches=8), todo=8)
    assert Need.of_rest(large).inodes == 9
    assert Need.of_rest(replace(large, todo=2, interactions=Interactions())).inodes == 6
    remote = replace(settings, storage_url="s3://somewhere").local_objects_dir
    ResultReservations(remote).reserve("one", Need(2**60, 2**60))
