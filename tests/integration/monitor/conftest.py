"""Sleeping processes as fake workers, and jobs for them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import redis

from services.monitor.events.programs import Program, Programs
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.jobs.document import Job, Method
from shared.jobs.ids import new_job_id
from shared.jobs.store import JobStore
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect
from shared.settings import Settings
from tests.integration.redis_server import RedisServer

HOST = "this-machine"
HOG = "import sys, time; hog = bytearray(b'x') * (int(sys.argv[1]) << 20); print(flush=True); time.sleep(300)"


def report(programs: Programs, program: Program) -> None:
    """List a program with the others, in its new state."""
    others = [one for one in programs.all if (one.group, one.name) != (program.group, program.name)]
    programs.adopt([*others, program])


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, batch_timeout_seconds=2)


@pytest.fixture
def impatient(settings: Settings, server: RedisServer) -> Iterator[redis.Redis]:
    assert server.process is not None
    connection = connect(settings, Patience.IMPATIENT, name="test-impatient")
    yield connection
    connection.close()


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
            request="r-1",
        )
        for batch in range(batches):
            payloads.put_rows(job, batch, np.zeros((10, 2), np.float32))
        return store.accept(job).job

    return accept


@pytest.fixture
def take(store: JobStore, connection: redis.Redis) -> Callable[[Heartbeat, Job, int], None]:
    """Do what a worker does first: take the batch from its queue and claim it."""

    def take(heartbeat: Heartbeat, job: Job, batch: int) -> None:
        for lane in ("interactive", "bulk"):
            for name in connection.lrange(f"rq:queue:{lane}", 0, -1):
                assert isinstance(name, bytes)
                if name.startswith(f"{job.id}-{batch}-".encode()):
                    connection.lrem(f"rq:queue:{lane}", 0, name.decode())
        assert store.transitions.claim(job.id, batch, heartbeat.name, heartbeat.token) == "run"

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
def beat(connection: redis.Redis) -> Callable[..., Heartbeat]:
    """Send a worker's heartbeat."""

    def beat(name: str, pid: int | None = None, host: str = HOST, token: str = "life-1") -> Heartbeat:
        heartbeat = Heartbeat(f"{host}/{name}", host, os.getpid() if pid is None else pid, token)
        Heartbeats(connection).beat(heartbeat)
        return heartbeat

    return beat
