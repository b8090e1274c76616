"""The application on a real Redis and store, in process and behind its real server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

from services.api.app import create_app, create_server
from services.api.components import Components
from services.api.explain import job_waits
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.build import ROOT
from shared.explanation import Explanation
from shared.jobs import keys
from shared.jobs.document import Job
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.redis.connection import REDIS_AWAY, Patience, connect
from shared.settings import Settings
from tests.integration.api.api_client import ADMIN_API_KEY, API_KEY, METRICS_TOKEN, InProcess, OverHttp
from tests.integration.api.api_process import Process

type Values = NDArray[np.float32]
type Finish = Callable[[Job], Values]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    settings.tmp_dir.mkdir()
    return replace(
        settings,
        port=0,
        api_key=API_KEY,
        admin_api_key=ADMIN_API_KEY,
        metrics_token=METRICS_TOKEN,
        models_dir=ROOT / "models",
        max_body_mb=1,
        max_rows=2000,
        max_queued_batches=150,
        metrics_port=1,
    )


@pytest.fixture
def components(
    settings: Settings, connection: redis.Redis, payloads: Payloads, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Components]:
    monkeypatch.setattr(job_waits, "LISTEN_SECONDS", 0.05)  # the test's end need not wait
    impatient = connect(settings, Patience.IMPATIENT, name="api")
    components = Components(
        settings, impatient, connection, payloads, ModelCatalog.load(settings.models_dir), commit="abc123"
    )
    components.probe.refresh()
    Heartbeats(connection).beat(Heartbeat("worker-1", "host", 1, "token"))
    components.job_waits.start()
    yield components
    components.stop()
    components.job_waits.join()
    impatient.close()


@pytest.fixture
def client(components: Components) -> InProcess:
    return InProcess(create_app(components))


@pytest.fixture
def http(components: Components) -> Iterator[OverHttp]:
    server = create_server(components)
    thread = threading.Thread(target=server.run, kwargs={"on_stop": components.stop})
    thread.start()
    yield OverHttp(server.port)
    server.stop()
    thread.join()


@pytest.fixture
def finish(components: Components) -> Finish:
    """Do a worker's work on a job, with values that identify row, output and feature."""

    def work(job: Job) -> Values:
        shape = (job.rows, job.outputs, job.features + 2)
        values: Values = (np.arange(np.prod(shape), dtype=np.float32) / np.float32(8)).reshape(shape)
        for batch in range(job.batches):
            rows = job.rows_of(batch)
            components.store.transitions.claim(job.id, batch, "worker-1", "token")
            wanted = slice(rows.start, rows.stop)
            sent = components.payloads.rows(job, batch)
            components.payloads.put_result(job, batch, sent, Explanation(values[wanted]))
            components.store.transitions.complete(job.id, batch, len(rows), job.model, 0.0)
        return values

    return work


@pytest.fixture
def finish_all(components: Components, finish: Finish) -> Iterator[None]:
    """Work on every job in the background, as a worker would."""
    stopping = threading.Event()

    def work() -> None:
        while not stopping.wait(0.005):
            with contextlib.suppress(*REDIS_AWAY):  # a worker waits for Redis to come back
                for job in components.store.active():
                    finish(job)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stopping.set()
    thread.join()


@pytest.fixture
def nothing_is_left(components: Components) -> Callable[[], None]:
    """Assert that a refused request left no trace."""

    def check() -> None:
        assert components.store.page(None, 10, None).jobs == []
        assert sum(components.store.queues.waiting().values()) == 0
        assert components.connection.zcard(keys.JOBS) == 0
        assert components.payloads.job_ids() == []
        assert list(Path(components.settings.tmp_dir).iterdir()) == []

    return check


@pytest.fixture
def start(settings: Settings, wait_until: Callable[..., float]) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def begin(*program: str) -> Process:
        started.append(Process(settings, *program))
        wait_until(started[-1].answers)
        return started[-1]

    yield begin
    for process in started:
        process.process.kill()
        process.process.wait()
