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
from tests.support.jobs import a_job

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


def test_a_job_that_redis_has_no_memory_for_is_refused_with_both_figures_until_there_is_room_again(
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
    for number in range(600):
        limited.set(f"big:{number}", bytes(16_000))
    full = RedisCapacity(limited)
    with pytest.raises(RedisFullError):
        full.require(4000)
    limited.delete(*limited.keys("big:*"))
    time.sleep(0.6)  # until it reads again
    full.require(4000)


def test_a_redis_that_is_full_lets_what_was_accepted_be_worked_off_and_counts_deaths(
    limited: redis.Redis, store: JobStore
) -> None:
    job, other, poison = (store.accept(a_job(rows)).job for rows in (20, 10, 10))
    heartbeats, recovery, transitions = Heartbeats(limited), Recovery(limited, store), store.transitions
    outcomes = []
    for death in range(3):
        assert transitions.claim(poison.id, 0, "w", "life") is Claim.RUN
        [held] = recovery.running()
        outcomes.append(
            transitions.release(poison.id, 0, held.raw, limit=12, problem=b"{}", blame=Blame.DEATH)
        )
        if death == 0:
            fill(limited)
    assert outcomes == [Release.REQUEUE, Release.REQUEUE, Release.POISONED]
    assert store.get(poison.id).status is Status.FAILED

    heartbeats.beat(Heartbeat("w", "host", 1, "life"))
    assert list(heartbeats.alive()) == ["w"]
    for batch, outcome in enumerate((Completion.RECORDED, Completion.COMPLETED)):
        assert transitions.claim(job.id, batch, "w", "life") is Claim.RUN
        assert transitions.complete(job.id, batch, 10, job.model, 0.0) is outcome
    assert store.cancel(other.id)
    assert store.get(other.id).status is Status.CANCELLED
    assert transitions.forget(job.id)
    assert recovery.orphans(heartbeats.alive()) == []
