"""A worker exits after a run that raised. An outage of Redis is no fault of its batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from services.worker.batch import BatchRunner
from services.worker.heartbeat import HeartbeatThread
from services.worker.worker import BatchWorker
from shared.appliance.heartbeats import Heartbeats
from shared.jobs.document import Job

REFUSED = redis.exceptions.ResponseError("MISCONF Redis is configured to save, and cannot")


@pytest.fixture
def worker(connection: redis.Redis, runner: BatchRunner) -> BatchWorker:
    runner.stopping.clear()
    heartbeat = HeartbeatThread(Heartbeats(connection), runner.me, runner.counters)
    return BatchWorker(connection, runner, heartbeat, memory_limit_mb=10_000)


def run_one_batch(worker: BatchWorker, accept: Callable[[int], Job]) -> None:
    accept(1)
    found = worker.dequeue_job_and_maintain_ttl(5)
    assert found is not None
    worker.execute_job(*found)


@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        (MemoryError(), True),
        (redis.exceptions.ResponseError("WRONGTYPE"), True),
        (redis.exceptions.ConnectionError(), False),
        (redis.exceptions.TimeoutError(), False),
        (REFUSED, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_a_redis_that_is_away_lets_a_worker_exit_in_order_after_a_run_that_raised(
    worker: BatchWorker,
    accept: Callable[[int], Job],
    monkeypatch: pytest.MonkeyPatch,
    *,
    fault: Exception,
    broken: bool,
) -> None:
    def failing(*_given: object) -> None:
        raise fault

    monkeypatch.setattr(BatchRunner, "run", failing)
    run_one_batch(worker, accept)

    assert worker.broken is broken
    assert worker._stop_requested


def test_a_run_that_ends_leaves_no_record_in_rq_and_the_worker_goes_on(
    worker: BatchWorker, accept: Callable[[int], Job], connection: redis.Redis
) -> None:
    run_one_batch(worker, accept)

    assert connection.keys("rq:job:*") == []
    assert not connection.exists("rq:wip:interactive")
    assert not worker.broken
    assert not worker._stop_requested
