import signal
import time
from typing import Any

import pytest
import redis

from shared import metrics
from shared.appliance.counters import Counters
from shared.errors import RedisUnavailableError
from shared.redis.connection import REDIS_AWAY, Patience, connect, redis_needed
from shared.settings import Settings
from tests.support.quick import check_quick


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_an_impatient_caller_learns_within_two_seconds_that_redis_is_away(
    settings: Settings, server: Any, fault: signal.Signals
) -> None:
    connection = connect(settings, Patience.IMPATIENT, name="test")
    connection.ping()
    server.signal(fault)
    time.sleep(0.05)

    def ask() -> None:
        with pytest.raises(RedisUnavailableError), redis_needed():
            connection.get("key")

    check_quick(2, ask)
    connection.close()


def test_counters_and_maxima_keep_what_redis_did_not_take_and_a_client_comes_back_by_itself(
    settings: Settings, server: Any
) -> None:
    connection = connect(settings, Patience.STEADY, name="test")
    counters, another = Counters(connection), Counters(connection)
    counters.add(metrics.JOBS, "completed")
    for value in (3e-7, 2e-7):
        counters.most(metrics.LARGEST_RESIDUAL, value, "wine@1")
    another.most(metrics.LARGEST_RESIDUAL, 1e-7, "wine@1")
    another.flush()
    connection.set("key", "value")
    server.kill()
    with pytest.raises(redis.RedisError):
        counters.flush()
    counters.add(metrics.JOBS, "completed", amount=2)
    counters.observe(metrics.BATCH_SECONDS, 0.3)
    server.start()
    assert connection.get("key") == b"value"
    counters.flush()
    assert counters.read() == {
        ("jobs_total", "completed"): 3,
        ("batch_seconds_bucket", "0.5"): 1,
        ("batch_seconds_sum",): 0.3,
        ("largest_residual", "wine@1"): 3e-7,  # of a maximum the largest of all processes
    }
    another.most(metrics.LARGEST_RESIDUAL, 2e-7, "wine@1")
    another.flush()
    assert counters.read()["largest_residual", "wine@1"] == 3e-7
    connection.close()


def test_a_redis_without_room_is_unavailable_and_not_a_bug(connection: redis.Redis) -> None:
    connection.config_set("maxmemory", 1)

    with pytest.raises(RedisUnavailableError), redis_needed():
        connection.set("key", b"x" * 10_000)


def test_a_redis_that_runs_an_endless_script_is_unavailable_and_not_a_bug(
    connection: redis.Redis, settings: Settings
) -> None:
    connection.config_set("busy-reply-threshold", 1)
    # Connected before: meanwhile a new connection is refused as well.
    sender, killer = (connect(settings, Patience.STEADY, name="test") for _ in range(2))
    killer.ping()
    script: Any = sender.connection_pool.get_connection()
    script.send_command("EVAL", "while true do end", 0)

    def ask_until_the_script_has_begun() -> None:
        with redis_needed():
            while True:
                connection.get("key")

    with pytest.raises(RedisUnavailableError, match="BUSY"):
        ask_until_the_script_has_begun()
    killer.script_kill()
    script.disconnect()
    for client in (sender, killer):
        client.close()


def test_a_flush_that_a_stopped_redis_carries_out_later_counts_once(settings: Settings, server: Any) -> None:
    connection = connect(settings, Patience.IMPATIENT, name="test")
    counters = Counters(connection)
    counters.add(metrics.JOBS, "completed")
    counters.flush()
    counters.add(metrics.JOBS, "completed")
    server.signal(signal.SIGSTOP)
    with pytest.raises(REDIS_AWAY):
        counters.flush()  # sent, tried again, and given up
    server.signal(signal.SIGCONT)
    counters.add(metrics.JOBS, "failed")
    counters.flush()
    assert counters.read() == {("jobs_total", "completed"): 2.0, ("jobs_total", "failed"): 1.0}
    connection.close()
