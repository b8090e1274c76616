from __future__ import annotations

import time

import pytest
import redis

from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.errors import RedisFullError
from shared.jobs.document import Status
from shared.jobs.recovery import Blame, Recovery
from shared.jobs.store import JobStore
from shared.jobs.transitions import Claim, Completion, Release
from shared.redis.capacity import RedisCapacity
from tests.integration.shared.jobs import a_job

MB = 2**20


@pytest.fixture
def limited(connection: redis.Redis) -> redis.Redis:
    """Redis with 16 MB more than it uses now."""
    used = connection.info("memory")["used_memory"]
    connection.config_set("maxmemory", used + 16 * MB)
    return connection


def fill(connection: redis.Redis) -> None:
    """Make Redis hold more than it may: from now on it refuses commands that take memory."""
    connection.config_set("maxmemory", connection.info("memory")["used_memory"] // 2)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        connection.set("one", "more")


def test_a_job_that_redis_has_no_memory_for_is_refused_with_both_figures(
    connection: redis.Redis, store: JobStore, request: pytest.FixtureRequest
) -> None:
    RedisCapacity(connection).require(10_000_000)  # without a limit there is room for all
    limited = request.getfixturevalue("limited")
    store.accept(a_job(1000))
    with pytest.raises(RedisFullError, match=r"Redis uses \d+ MB of \d+ MB, and this job would add 19\.1 MB"):
        store.accept(a_job(100_000))
    assert limited.zcard("shapbox:jobs") == 1
    room = RedisCapacity(limited)
    room.require(4000)
    with pytest.raises(RedisFullError):  # what was accepted since the last reading counts
        room.require(4000)


def test_there_is_room_again_when_something_was_deleted(limited: redis.Redis) -> None:
    room = RedisCapacity(limited)
    for number in range(750):
        limited.set(f"big:{number}", b"x" * 16_000)
    with pytest.raises(RedisFullError):
        room.require(1000)
    limited.delete(*[f"big:{number}" for number in range(750)])
    time.sleep(0.6)
    room.require(1000)


def test_a_redis_that_is_full_lets_what_was_accepted_be_worked_off(
    limited: redis.Redis, store: JobStore
) -> None:
    job, other = store.accept(a_job(20)).job, store.accept(a_job(10)).job
    heartbeats, recovery = Heartbeats(limited), Recovery(limited, store)
    fill(limited)

    heartbeats.beat(Heartbeat("w", "host", 1, "life"))
    assert list(heartbeats.alive()) == ["w"]
    assert store.transitions.claim(job.id, 0, "w", "life") is Claim.RUN
    assert store.transitions.complete(job.id, 0, 10, job.model, 0.0) is Completion.RECORDED
    assert store.transitions.claim(job.id, 1, "w", "life") is Claim.RUN
    assert store.transitions.complete(job.id, 1, 10, job.model, 0.0) is Completion.COMPLETED
    assert store.cancel(other.id)
    assert store.get(other.id).status is Status.CANCELLED
    assert store.transitions.forget(job.id)
    assert recovery.orphans(heartbeats.alive()) == []


def test_a_death_is_counted_though_redis_is_full(limited: redis.Redis, store: JobStore) -> None:
    job = store.accept(a_job(10)).job
    recovery = Recovery(limited, store)
    store.transitions.claim(job.id, 0, "w", "life")
    store.transitions.release(
        job.id, 0, recovery.running()[0].raw, limit=12, problem=b"{}", blame=Blame.DEATH
    )
    fill(limited)
    for _ in range(2):
        assert store.transitions.claim(job.id, 0, "w", "life") is Claim.RUN
        outcome = store.transitions.release(
            job.id, 0, recovery.running()[0].raw, limit=12, problem=b"{}", blame=Blame.DEATH
        )
    assert outcome is Release.POISONED
    assert store.get(job.id).status is Status.FAILED
