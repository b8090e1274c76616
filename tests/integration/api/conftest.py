"""The application on a real Redis and store, in process and behind its real server."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

from services.api.app import create_app
from services.api.components import Components
from services.api.explain import job_waits
from services.api.explain.inline import InlineModels
from services.worker.batch import BatchRunner
from services.worker.exits import ShapReturn
from services.worker.models import WarmModels
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.build import ROOT
from shared.explanation import Explanation
from shared.jobs import keys
from shared.jobs.document import Job
from shared.jobs.recovery import Recovery
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.redis.connection import REDIS_AWAY, Patience, connect
from shared.settings import Settings
from shared.treeshap.library import find_library
from tests.integration.api.api_client import (
    ADMIN_API_KEY,
    API_KEY,
    METRICS_TOKEN,
    InProcess,
    OverHttp,
)
from tests.integration.api.served import Serve, Served
from tests.support.activated import activated_catalog
from tests.support.processes import common_folder, once
from tests.support.redis_server import RedisServer

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


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="shapbox-") as folder:
        settings = Settings(data_dir=Path(folder))
        settings.run_dir.mkdir()
        running = RedisServer(settings)
        running.start()
        yield running
        running.kill()


@pytest.fixture
def connection(settings: Settings, request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """Connect to the shared Redis, or to the test's own `server` if it asks for one; empty it."""
    if "server" in request.fixturenames:
        request.getfixturevalue("server")
    else:
        settings.redis_socket.symlink_to(request.getfixturevalue("shared_redis").socket)
    connection = connect(settings, Patience.STEADY, name="test")
    connection.flushall()
    yield connection
    connection.close()


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
    assert components.job_waits._thread is not None
    components.job_waits._thread.join(30)  # it would log into other tests
    impatient.close()


@pytest.fixture
def client(components: Components) -> InProcess:
    return InProcess(create_app(components))


@pytest.fixture
def serve(components: Components, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:
        yield Serve(components, monkeypatch, stack)


@pytest.fixture
def served(serve: Serve) -> Served:
    """Serve the api."""
    return serve()


@pytest.fixture
def http(served: Served) -> OverHttp:
    return served.http


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Activations]:
    """The shipped models' compiled files, and what their activation found."""
    folder = common_folder(tmp_path_factory) / "compiled"
    found = folder.with_suffix(".json")

    def activate() -> None:
        folder.mkdir()
        versions = activated_catalog(ROOT / "models", folder).versions()
        records = {version.id: version.activation for version in versions if version.activation is not None}
        Activations("compiled", records).write(found)

    once(tmp_path_factory, "compiled", activate)
    return folder, Activations.read(found)


@pytest.fixture(scope="session")
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> InlineModels:
    """The shipped models, opened to be explained inline; none of them without kernels."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("inline"))
    models = InlineModels(ModelCatalog.load(ROOT / "models"), settings)
    if find_library() is not None:
        shutil.copytree(request.getfixturevalue("compiled")[0], settings.compiled_dir)
        models.open()
    return models


@pytest.fixture
def runner(components: Components) -> BatchRunner:
    """Explain batches as a worker does."""
    me = Heartbeat("host/worker-1", "host", os.getpid(), "token")
    return BatchRunner(
        components.store,
        components.payloads,
        WarmModels(components.catalog, components.settings.compiled_dir),
        components.counters,
        Recovery(components.connection, components.store),
        me,
        threading.Event(),
        ShapReturn(components.connection, me.token),
    )


@pytest.fixture
def finish(components: Components) -> Finish:
    """Do a worker's work on a job, with values that identify row, output and feature."""

    def work(job: Job) -> Values:
        shape = (job.rows, job.outputs, job.features + 2)
        values: Values = (np.arange(np.prod(shape), dtype=np.float32) / np.float32(8)).reshape(shape)
        for batch in range(job.batches):
            rows = job.rows_of(batch)
            components.store.transitions.claim(job.id, batch, "worker-1", "token")
            explained = Explanation(values[rows.start : rows.stop])
            components.payloads.put_result(job, batch, components.payloads.rows(job, batch), explained)
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
