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
from tests.integration.shared.jobs import a_job


def test_an_accepted_job_is_visible_and_its_batches_wait_in_the_lane_of_its_size(store: JobStore) -> None:
    job = store.accept(a_job()).job

    assert store.get(job.id).document()["batches"] == {"total": 3, "completed": 0}
    assert store.queues.waiting() == {Lane.INTERACTIVE: 0, Lane.BULK: 3}
    assert store.queues.waiting_batches() == {(job.id, 0), (job.id, 1), (job.id, 2)}
    store.accept(a_job(rows=1))
    assert store.queues.waiting() == {Lane.INTERACTIVE: 1, Lane.BULK: 3}


def test_the_batch_that_completes_the_set_completes_the_job_and_each_counts_once(
    store: JobStore, connection: redis.Redis
) -> None:
    job = store.accept(a_job()).job
    outcomes: list[Completion] = []
    for batch in (2, 0, 1):
        assert store.transitions.claim(job.id, batch, "w", "t") is Claim.RUN
        outcomes += [store.transitions.complete(job.id, batch, 10, job.model, 0.0) for _ in range(2)]

    recorded, repeated = Completion.RECORDED, Completion.REPEATED
    assert outcomes == [recorded, repeated] * 2 + [Completion.COMPLETED, Completion.ENDED]
    ended = store.get(job.id)
    assert ended.status is Status.COMPLETED
    assert ended.finished_at is not None
    assert ended.started_at is not None
    assert connection.hget("shapbox:counters", "rows_explained_total|wine@1") == b"30"


def test_the_largest_residual_of_all_batches_is_kept_with_the_job_and_with_the_model(
    store: JobStore, connection: redis.Redis
) -> None:
    job, another = store.accept(a_job()).job, store.accept(a_job()).job
    seen = [store.get(job.id).largest_residual]
    for batch, residual in enumerate((2e-7, 1.5e-5, 9e-6)):
        store.transitions.complete(job.id, batch, 10, job.model, residual)
        seen.append(store.get(job.id).largest_residual)
    store.transitions.complete(another.id, 0, 10, another.model, 0.0)

    assert seen == [None, 2e-7, 1.5e-5, 1.5e-5]
    assert store.get(another.id).largest_residual == 0.0
    assert connection.hget("shapbox:counters", "largest_residual|wine@1") == b"1.5e-05"


def test_a_batch_in_one_workers_hands_is_refused_to_another(store: JobStore) -> None:
    job = store.accept(a_job()).job

    assert store.transitions.claim(job.id, 0, "w1", "t") is Claim.RUN
    assert store.transitions.claim(job.id, 0, "w2", "t") is Claim.TAKEN
    assert store.get(job.id).status is Status.RUNNING


def test_a_cancelled_job_stays_cancelled_whatever_its_workers_do(store: JobStore) -> None:
    job = store.accept(a_job()).job
    store.transitions.claim(job.id, 0, "w", "t")

    assert store.cancel(job.id)
    assert not store.cancel(job.id)

    assert store.transitions.complete(job.id, 0, 10, job.model, 0.0) is Completion.ENDED
    assert store.transitions.claim(job.id, 1, "w", "t") is Claim.ENDED
    assert not store.fail(job.id, "engine", "too late")
    assert store.get(job.id).status is Status.CANCELLED


def test_only_an_ended_job_is_forgotten_and_then_wholly(store: JobStore, connection: redis.Redis) -> None:
    key = Idempotency("key", "print")
    job = store.accept(a_job(), key).job

    assert not store.transitions.forget(job.id)
    store.cancel(job.id)
    assert store.transitions.forget(job.id)

    with pytest.raises(JobNotFoundError):
        store.get(job.id)
    assert store.known(key) is None
    left = {name for name in connection.keys("shapbox:*") if job.id.encode() in name}
    assert not left
    assert store.page(None, 10, None).jobs == []


def test_the_same_key_gives_the_same_job_and_is_refused_with_another_body(store: JobStore) -> None:
    first, second = (store.accept(a_job(), Idempotency("key", "print")) for _ in range(2))

    assert first.created
    assert not second.created
    assert second.job.id == first.job.id
    assert store.queues.waiting()[Lane.BULK] == 3
    with pytest.raises(IdempotencyConflictError):
        store.accept(a_job(), Idempotency("key", "other"))


def test_a_full_queue_refuses_the_whole_job(connection: redis.Redis, settings: Settings) -> None:
    store = JobStore(connection, replace(settings, max_queued_batches=5))
    store.accept(a_job())

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


def test_pages_go_from_the_newest_to_the_oldest_without_gap_or_overlap(store: JobStore) -> None:
    ids = [store.accept(a_job()).job.id for _ in range(7)]
    seen, cursor = [], None
    while True:
        page = store.page(None, 3, cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break

    assert seen == sorted(ids, reverse=True)


def test_jobs_are_listed_by_status(store: JobStore) -> None:
    jobs = [store.accept(a_job(rows=1)).job for _ in range(3)]
    store.cancel(jobs[0].id)
    store.transitions.complete(jobs[1].id, 0, 1, "wine@1", 0.0)

    assert [job.id for job in store.page(Status.CANCELLED, 10, None).jobs] == [jobs[0].id]
    assert [job.id for job in store.page(Status.COMPLETED, 10, None).jobs] == [jobs[1].id]
    assert [job.id for job in store.active()] == [jobs[2].id]
    assert set(store.expired(time.time() + 1, 10)) == {jobs[0].id, jobs[1].id}
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
