"""Sleeping processes as fake workers, and jobs for them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import redis

from services.monitor.events.programs import Program, Programs
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.jobs import keys
from shared.jobs.document import Job
from shared.jobs.store import JobStore
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect, texts
from shared.settings import Settings
from tests.support.jobs import a_job
from tests.support.redis_server import RedisServer

HOST = "this-machine"
#: A process id that no process has.
NOBODY = 999_999_999
HOG = "import sys, time; hog = bytearray(b'x') * (int(sys.argv[1]) << 20); print(flush=True); time.sleep(300)"


def report(programs: Programs, program: Program) -> None:
    """List a program with the others, in its new state."""
    others = [one for one in programs.all if (one.group, one.name) != (program.group, program.name)]
    programs.adopt([*others, program])


class Scene:
    """Jobs as the api accepts them, and workers that do only what the monitor can see."""

    def __init__(
        self, connection: redis.Redis, store: JobStore, payloads: Payloads, stack: contextlib.ExitStack
    ) -> None:
        self.connection, self.store, self.payloads = connection, store, payloads
        self.heartbeats, self.counters = Heartbeats(connection), Counters(connection)
        self._stack = stack

    def accept(self, batches: int = 1) -> Job:
        job = a_job(batches * 10, features=2, outputs=1, request="r-1")
        for batch in range(batches):
            self.payloads.put_rows(job, batch, np.zeros((10, 2), np.float32))
        return self.store.accept(job).job

    def spawn(self, megabytes: int = 1) -> subprocess.Popen[bytes]:
        """Start a process that sleeps, filled with so many MB, and ends with the test."""
        process = subprocess.Popen([sys.executable, "-c", HOG, str(megabytes)], stdout=subprocess.PIPE)
        self._stack.callback(_end, process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def beat(
        self, name: str = "worker-1", pid: int | None = None, host: str = HOST, token: str = "life-1"
    ) -> Heartbeat:
        heartbeat = Heartbeat(f"{host}/{name}", host, os.getpid() if pid is None else pid, token)
        self.heartbeats.beat(heartbeat)
        return heartbeat

    def fall_silent(self, heartbeat: Heartbeat) -> None:
        self.connection.delete(keys.heartbeat(heartbeat.name))

    def take(self, heartbeat: Heartbeat, job: Job, batch: int = 0) -> None:
        """Do what a worker does first: take the batch from its queue and claim it."""
        for lane in ("rq:queue:interactive", "rq:queue:bulk"):
            for name in texts(self.connection.lrange(lane, 0, -1)):
                if name.startswith(f"{job.id}-{batch}-"):
                    self.connection.lrem(lane, 0, name)
        assert self.store.transitions.claim(job.id, batch, heartbeat.name, heartbeat.token) == "run"

    def working(self, job: Job, batch: int = 0, life: int = 1) -> subprocess.Popen[bytes]:
        worker = self.spawn()
        self.take(self.beat(pid=worker.pid, token=f"life-{life}"), job, batch)
        return worker

    def waiting(self, job: Job) -> set[int]:
        return {batch for job_id, batch in self.store.queues.waiting_batches() if job_id == job.id}

    def counted(self, name: str) -> dict[str, float]:
        """Return a counter's values by its last label; without labels, by its name."""
        self.counters.flush()
        return {key[-1]: value for key, value in self.counters.read().items() if key[0] == name}

    def recovered(self) -> dict[str, float]:
        return self.counted("batches_recovered_total")

    def blame(self, job: Job) -> int:
        """Return how much the job's first batch is blamed, in quarters of a death."""
        return int(self.connection.hget(keys.deaths(job.id), "0") or 0)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, batch_timeout_seconds=1)


@pytest.fixture
def scene(connection: redis.Redis, store: JobStore, payloads: Payloads) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        yield Scene(connection, store, payloads, stack)


@pytest.fixture
def impatient(settings: Settings, server: RedisServer) -> Iterator[redis.Redis]:
    assert server.process is not None
    connection = connect(settings, Patience.IMPATIENT, name="test-impatient")
    yield connection
    connection.close()
