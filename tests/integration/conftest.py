"""A real Redis on a unix socket, and what is built on it, afresh for each test."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from shared.jobs.store import JobStore
from shared.payloads import Payloads
from shared.redis_connection import Patience, connect
from shared.settings import Settings


class RedisServer:
    """A redis-server of the test's own, which it may kill, stop and start again."""

    def __init__(self, settings: Settings) -> None:
        self.socket = settings.redis_socket
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        self.process = subprocess.Popen(
            [*command, "--dir", str(self.socket.parent), "--appendonly", "yes"], stdout=subprocess.DEVNULL
        )
        client = redis.Redis(unix_socket_path=str(self.socket))
        until(lambda: _answers(client))
        client.close()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False


def until(condition: Callable[[], object], seconds: float = 20) -> float:
    """Wait for the condition; returns how long that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.fixture
def wait_until() -> Callable[..., float]:
    return until


@pytest.fixture
def settings() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="shapbox-") as folder:  # short enough for a unix socket
        settings = Settings(data_dir=Path(folder), batch_rows=10)
        settings.run_dir.mkdir()
        yield settings


@pytest.fixture
def server(settings: Settings) -> Iterator[RedisServer]:
    server = RedisServer(settings)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def connection(settings: Settings, server: RedisServer) -> Iterator[redis.Redis]:
    assert server.process is not None
    connection = connect(settings, Patience.STEADY, name="test")
    yield connection
    connection.close()


@pytest.fixture
def store(connection: redis.Redis, settings: Settings) -> JobStore:
    return JobStore(connection, settings)


@pytest.fixture
def payloads(settings: Settings) -> Payloads:
    return Payloads.open(settings)
