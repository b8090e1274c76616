"""A real Redis on a unix socket for each test, and sleeping processes that stand in for workers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from shared.beacons import Beacon, Beacons
from shared.jobs.document import Job, Method
from shared.jobs.ids import new_job_id
from shared.jobs.store import JobStore
from shared.payloads import Payloads
from shared.redis_connection import Patience, connect
from shared.settings import Settings

HOST = "this-machine"
HOG = "import sys, time; hog = bytearray(b'x') * (int(sys.argv[1]) << 20); print(flush=True); time.sleep(300)"


class RedisServer:
    def __init__(self, settings: Settings) -> None:
        self.socket = settings.redis_socket
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        self.process = subprocess.Popen(
            [*command, "--dir", str(self.socket.parent), "--appendonly", "yes"], stdout=subprocess.DEVNULL
        )
        client = redis.Redis(unix_socket_path=str(self.socket))
        until(lambda: answers(client))
        client.close()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False


def until(condition: Callable[[], object], seconds: float = 10) -> float:
    """Wait for the condition; returns how long that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.fixture
def settings() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="shapbox-") as folder:  # short enough for a unix socket
        settings = Settings(data_dir=Path(folder), batch_timeout_seconds=2, batch_rows=10)
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
def impatient(settings: Settings, server: RedisServer) -> Iterator[redis.Redis]:
    assert server.process is not None
    connection = connect(settings, Patience.IMPATIENT, name="test-impatient")
    yield connection
    connection.close()


@pytest.fixture
def store(connection: redis.Redis, settings: Settings) -> JobStore:
    return JobStore(connection, settings)


@pytest.fixture
def payloads(settings: Settings) -> Payloads:
    return Payloads.open(settings)


@pytest.fixture
def accept(store: JobStore, payloads: Payloads) -> Callable[..., Job]:
    """Accept a job with its inputs stored, as the api does."""

    def accept(batches: int = 1) -> Job:
        job = Job(
            id=new_job_id(),
            model="wine@1",
            method=Method.TREE_PATH_DEPENDENT,
            rows=batches * 10,
            batch_rows=10,
            features=2,
            outputs=1,
            created_at=time.time(),
        )
        for batch in range(batches):
            payloads.put(job.id, "input", batch, np.zeros((10, 2), np.float32))
        return store.accept(job).job

    return accept


@pytest.fixture
def take(store: JobStore, connection: redis.Redis) -> Callable[[Beacon, Job, int], None]:
    """Do what a worker does first: take the batch from its queue and claim it."""

    def take(beacon: Beacon, job: Job, batch: int) -> None:
        for lane in ("interactive", "bulk"):
            for name in connection.lrange(f"rq:queue:{lane}", 0, -1):
                assert isinstance(name, bytes)
                if name.startswith(f"{job.id}-{batch}-".encode()):
                    connection.lrem(f"rq:queue:{lane}", 0, name.decode())
        assert store.transitions.claim(job.id, batch, beacon.name, beacon.token) == "run"

    return take


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start processes that sleep, filled with so many MB, and end them after the test."""
    with contextlib.ExitStack() as stack:

        def spawn(megabytes: int = 1) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([sys.executable, "-c", HOG, str(megabytes)], stdout=subprocess.PIPE)
            stack.callback(_end, process)
            assert process.stdout is not None
            process.stdout.readline()
            return process

        yield spawn


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture
def light(connection: redis.Redis) -> Callable[..., Beacon]:
    """Light a worker's beacon."""

    def light(name: str, pid: int | None = None, host: str = HOST, token: str = "life-1") -> Beacon:
        beacon = Beacon(f"{host}/{name}", host, os.getpid() if pid is None else pid, token)
        Beacons(connection).beat(beacon)
        return beacon

    return light
