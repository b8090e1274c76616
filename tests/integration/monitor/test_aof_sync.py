from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from ops.run.redis_config import redis_config
from services.monitor.redis_upkeep import AofSync
from shared.settings import Settings
from tests.integration.redis_server import RedisServer


def redis_dir(settings: Settings) -> Path:
    return settings.redis_socket.parent  # where the test's server keeps its files


def test_the_file_that_redis_appends_to_is_synced_when_it_has_grown_and_only_then(
    settings: Settings, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", synced.append)
    sync = AofSync(redis_dir(settings))
    connection.set("a", "1")
    sync.step()
    sync.step()
    assert len(synced) == 1
    connection.set("a", "2")
    sync.step()
    assert len(synced) == 2


def test_after_a_rewrite_the_new_file_is_synced(
    settings: Settings, connection: redis.Redis, wait_until: Callable[..., float]
) -> None:
    sync = AofSync(redis_dir(settings))
    connection.set("a", "1")
    sync.step()
    before = sync._synced[0]
    connection.bgrewriteaof()
    wait_until(lambda: not connection.info("persistence")["aof_rewrite_in_progress"])
    connection.set("a", "2")
    sync.step()
    assert sync._synced[0] != before


def test_without_a_file_there_is_nothing_to_do(tmp_path: Path) -> None:
    AofSync(tmp_path).step()


def test_redis_answers_only_what_a_kill_cannot_take_back(
    settings: Settings, server: RedisServer, connection: redis.Redis
) -> None:
    assert "appendfsync no" in redis_config(settings)
    assert connection.config_get("appendfsync") == {"appendfsync": "no"}
    for number in range(500):
        connection.rpush("accepted", number)
    server.signal(signal.SIGKILL)
    server.kill()
    server.start()
    assert connection.llen("accepted") == 500
