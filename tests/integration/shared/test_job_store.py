import threading
import time
from dataclasses import replace
from typing import Any

import pytest
import redis

from shared.errors import IdempotencyConflictError, JobNotFoundError, QueueFullError
from shared.jobs.document import Status
from shared.jobs.queue import Lane
from shared.jobs.store import Idempotency, JobStore
from shared.jobs.transitions import Claim, Completion
from shared.settings import Settings
from tests.support.jobs import a_job


def test_an_accepted_job_is_visible_and_its_batches_wait_in_the_lane_of_its_size(store: JobStore) -> None:
    job = store.accept(a_job()).job
    assert store.get(job.id).document()["batches"] == {"total": 3, "completed": 0}
    assert store.queues.waiting() == {Lane.INTERACTIVE: 0, Lane.BULK: 3}
    assert store.queues.waiting_batches() == {(job.id, 0), (job.id, 1), (job.id, 2)}
    store.accept(a_job(rows=1))
    assert store.queues.waiting() == {Lane.INTERACTIVE: 1, Lane.BULK: 3}


def test_each_batch_counts_once_and_the_last_one_completes_the_job(
    store: JobStore, connection: redis.Redis
) -> None:
    job, another = store.accept(a_job()).job, store.accept(a_job()).job
    outcomes: list[Completion] = []
    seen = [store.get(job.id).largest_residual]
    for batch, residual in ((2, 2e-7), (0, 1.5e-5), (1, 9e-6)):
        assert store.transitions.claim(job.id, batch, "w1", "t") is Claim.RUN
        assert store.transitions.claim(job.id, batch, "w2", "t") is Claim.TAKEN  # it is in another's hands
        assert store.get(job.id).status is Status.RUNNING
        outcomes += [store.transitions.complete(job.id, batch, 10, job.model, residual) for _ in range(2)]
        seen.append(store.get(job.id).largest_residual)
    store.transitions.complete(another.id, 0, 10, another.model, 0.0)

    recorded, repeated = Completion.RECORDED, Completion.REPEATED
    assert outcomes == [recorded, repeated] * 2 + [Completion.COMPLETED, Completion.ENDED]
    assert seen == [None, 2e-7, 1.5e-5, 1.5e-5]
    ended = store.get(job.id)
    assert ended.status is Status.COMPLETED
    assert None not in {ended.finished_at, ended.started_at}
    assert store.get(another.id).largest_residual == 0.0
    counters = connection.hgetall("shapbox:counters")
    assert counters[b"rows_explained_total|wine@1"] == b"40"
    assert counters[b"largest_residual|wine@1"] == b"1.5e-05"


def test_a_cancelled_job_stays_cancelled_whatever_its_workers_do_and_only_then_is_wholly_forgotten(
    store: JobStore, connection: redis.Redis
) -> None:
    key = Idempotency("key", "print")
    job = store.accept(a_job(), key).job
    store.transitions.claim(job.id, 0, "w", "t")
    assert not store.transitions.forget(job.id)
    assert store.cancel(job.id)
    assert not store.cancel(job.id)
    assert store.transitions.complete(job.id, 0, 10, job.model, 0.0) is Completion.ENDED
    assert store.transitions.claim(job.id, 1, "w", "t") is Claim.ENDED
    assert not store.fail(job.id, "engine", "too late")
    assert store.get(job.id).status is Status.CANCELLED

    assert store.transitions.forget(job.id)
    with pytest.raises(JobNotFoundError):
        store.get(job.id)
    assert store.known(key) is None
    assert not {name for name in connection.keys("shapbox:*") if job.id.encode() in name}
    assert store.page(None, 10, None).jobs == []


def test_the_same_key_gives_the_same_job_and_a_full_queue_refuses_a_whole_one(
    connection: redis.Redis, settings: Settings
) -> None:
    store = JobStore(connection, replace(settings, max_queued_batches=5))
    first, second = (store.accept(a_job(), Idempotency("key", "print")) for _ in range(2))
    assert (first.created, second.created) == (True, False)
    assert second.job.id == first.job.id
    with pytest.raises(IdempotencyConflictError):
        store.accept(a_job(), Idempotency("key", "other"))
    with pytest.raises(QueueFullError, match="MAX_QUEUED_BATCHES"):
        store.accept(a_job())
    assert store.queues.waiting()[Lane.BULK] == 3
    assert len(store.page(None, 10, None).jobs) == 1


def test_a_job_that_enters_while_another_one_looks_is_counted_by_it(
    connection: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = JobStore(connection, replace(settings, max_queued_batches=5))
    checked, looked = threading.Event(), threading.Event()
    write, waiting = store._write, store.queues.waiting

    def write_late(*what: Any) -> None:
        checked.set()
        assert looked.wait(60)
        write(*what)

    def look_and_let_the_other_one_end() -> dict[Lane, int]:
        counts = waiting()
        looked.set()
        first.join(60)
        return counts

    monkeypatch.setattr(store, "_write", write_late)
    first = threading.Thread(target=store.accept, args=(a_job(),))
    first.start()
    assert checked.wait(60)
    monkeypatch.setattr(store.queues, "waiting", look_and_let_the_other_one_end)

    with pytest.raises(QueueFullError):
        store.accept(a_job())
    assert waiting()[Lane.BULK] == 3


def test_pages_go_from_the_newest_to_the_oldest_without_gap_or_overlap_and_by_status(store: JobStore) -> None:
    ids = [store.accept(a_job(rows=1)).job.id for _ in range(7)]
    seen: list[str] = []
    cursor = None
    while not seen or cursor is not None:
        page = store.page(None, 3, cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
    assert seen == sorted(ids, reverse=True)

    store.cancel(ids[0])
    store.transitions.complete(ids[1], 0, 1, "wine@1", 0.0)
    assert [job.id for job in store.page(Status.CANCELLED, 10, None).jobs] == [ids[0]]
    assert [job.id for job in store.page(Status.COMPLETED, 10, None).jobs] == [ids[1]]
    assert {job.id for job in store.active()} == set(ids[2:])
    assert set(store.expired(time.time() + 1, 10)) == set(ids[:2])
    assert store.expired(time.time() - 60, 10) == []


class _LosesTheAnswer(redis.client.Pipeline):
    """A pipeline whose connection breaks after Redis has carried out the first accepting EXEC."""

    lost = False

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        answer = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]  # redis-py leaves it bare
        accepting = any(arguments[0] == "RPUSH" for arguments, _ in self.command_stack)
        if accepting and isinstance(answer, list) and not _LosesTheAnswer.lost:
            _LosesTheAnswer.lost = True
            raise redis.exceptions.ConnectionError("the answer to EXEC is lost")
        return answer


@pytest.mark.parametrize("key", [None, Idempotency("key", "print")])
def test_a_job_is_accepted_once_when_the_answer_to_its_transaction_is_lost(
    store: JobStore, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch, key: Idempotency | None
) -> None:
    monkeypatch.setattr(_LosesTheAnswer, "lost", False)
    pool, callbacks = connection.connection_pool, connection.response_callbacks
    monkeypatch.setattr(connection, "pipeline", lambda **_: _LosesTheAnswer(pool, callbacks, True, None))
    accepted = store.accept(a_job(), key)
    assert _LosesTheAnswer.lost
    assert accepted.created
    assert connection.llen("rq:queue:bulk") == 3
    assert store.get(accepted.job.id).status is Status.QUEUED
