"""A run that ends in a way nobody foresaw is no leaving in order: its batch may be to blame."""

from __future__ import annotations

import pytest
import redis
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from services.worker.worker import BatchWorker

REFUSED = redis.exceptions.ResponseError("MISCONF Redis is configured to save, and cannot")


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
def test_only_a_redis_that_is_away_lets_a_worker_leave_in_order_after_a_run_that_raised(
    connection: redis.Redis, monkeypatch: pytest.MonkeyPatch, *, fault: Exception, broken: bool
) -> None:
    queue = Queue("bulk", connection=connection, serializer=JSONSerializer)
    worker = BatchWorker([queue], connection=connection, serializer=JSONSerializer)
    monkeypatch.setattr(SimpleWorker, "handle_job_failure", lambda *_args, **_named: None)
    try:
        raise fault
    except (MemoryError, redis.RedisError):
        worker.handle_job_failure()
    assert worker.broken is broken
    assert worker._stop_requested
