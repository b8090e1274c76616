from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
import redis

from services.monitor.metrics.redis_reading import STALE_SECONDS, RedisReading
from shared import metrics
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat
from shared.jobs.document import Job
from shared.jobs.queue import BatchQueues, Lane
from tests.integration.redis_server import RedisServer


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reading(impatient: redis.Redis, clock: Clock) -> RedisReading:
    return RedisReading(impatient, BatchQueues(impatient, 2), clock)


def test_all_that_the_metrics_tell_of_redis_is_read(
    reading: RedisReading,
    connection: redis.Redis,
    accept: Callable[[int], Job],
    beat: Callable[..., Heartbeat],
) -> None:
    job, heartbeat = accept(3), beat("worker-1")
    counters = Counters(connection)
    counters.add(metrics.MEMORY_UNRELIEVED)
    counters.flush()
    connection.config_set("maxmemory", 2**30)
    reading.step()
    state = reading.state
    assert state is not None
    assert state.sums["memory_unrelieved_total",] == 1
    assert state.waiting == {Lane.INTERACTIVE: 0, Lane.BULK: 3}
    assert state.heads[Lane.INTERACTIVE] is None
    assert (state.heads[Lane.BULK] or "").startswith(f"{job.id}-")
    assert state.heartbeats == {heartbeat.name: heartbeat}
    assert 0 < state.used_bytes < state.limit_bytes == 2**30


def test_nothing_is_told_of_a_redis_that_does_not_answer_until_it_does(
    reading: RedisReading, server: RedisServer
) -> None:
    reading.step()
    server.signal(signal.SIGSTOP)
    reading.step()
    assert reading.state is None
    server.signal(signal.SIGCONT)
    reading.step()
    assert reading.state is not None


def test_a_reading_that_has_had_no_successor_for_long_is_not_told(
    reading: RedisReading, clock: Clock
) -> None:
    reading.step()
    clock.now += STALE_SECONDS
    assert reading.state is not None
    clock.now += 1
    assert reading.state is None
