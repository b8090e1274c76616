"""A real Redis on a unix socket, and what is built on it, afresh for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from shared.jobs.store import JobStore
from shared.log import TextFormatter
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect
from shared.settings import Settings
from tests.support.redis_server import RedisServer, until


@pytest.fixture
def wait_until() -> Callable[..., float]:
    return until


#: Returns the lines that were logged so far and have these words.
type Logged = Callable[[str], list[str]]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Logged]:
    """Log in the one format, with the current ids."""
    before = caplog.handler.formatter
    caplog.handler.setFormatter(TextFormatter("test"))
    with caplog.at_level("INFO"):
        yield lambda words: [line for line in caplog.text.splitlines() if words in line]
    caplog.handler.setFormatter(before)


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
