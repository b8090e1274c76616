"""Worker processes without supervisord, runners of batches, and jobs for them."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import redis

from services.worker.batch import BatchRunner
from services.worker.exits import ShapReturn
from services.worker.models import WarmModels
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat
from shared.jobs.document import Job, Method
from shared.jobs.ids import new_job_id
from shared.jobs.recovery import Recovery
from shared.jobs.store import JobStore
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.settings import Settings

ROOT = Path(__file__).parents[3]
FEATURES = 13

#: The worker's own entry point, with a shorter wait until shap is given back, and a longer one of RQ's for a batch.
IMPATIENT = """
import sys
from dataclasses import replace
from shared import timing
timing.TIMING = replace(timing.TIMING, shap_idle_seconds=float(sys.argv.pop(1)), rq_worker_ttl_seconds=300.0)
from services.worker.__main__ import main
sys.exit(main())
"""


class WorkerProcess:
    def __init__(self, settings: Settings, program: list[str]) -> None:
        self.log = settings.data_dir / "worker.log"
        environment = os.environ | {"DATA_DIR": str(settings.data_dir), "MODELS_DIR": str(ROOT / "models")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, "--name", "worker-1"], cwd=ROOT, env=environment, stderr=log
            )


@pytest.fixture(scope="module")
def catalog() -> ModelCatalog:
    return ModelCatalog.load(ROOT / "models")


@pytest.fixture
def recovery(connection: redis.Redis, store: JobStore) -> Recovery:
    return Recovery(connection, store)


@pytest.fixture
def runner(
    connection: redis.Redis, store: JobStore, payloads: Payloads, catalog: ModelCatalog, recovery: Recovery
) -> BatchRunner:
    me = Heartbeat("host/worker-1", "host", os.getpid(), secrets.token_hex(4))
    stopping = Event()
    stopping.set()  # no pause after a failing store
    return BatchRunner(
        store=store,
        payloads=payloads,
        models=WarmModels(catalog),
        counters=Counters(connection),
        recovery=recovery,
        me=me,
        stopping=stopping,
        shap_return=ShapReturn(connection, me.token),
    )


@pytest.fixture
def start(
    settings: Settings, store: JobStore, wait_until: Callable[..., float]
) -> Iterator[Callable[..., WorkerProcess]]:
    workers: list[WorkerProcess] = []

    def start(shap_seconds: float | None = None, code: str | None = None) -> WorkerProcess:
        program = ["-m", "services.worker"] if code is None else ["-c", code]
        if shap_seconds is not None:
            program = ["-c", IMPATIENT, str(shap_seconds)]
        lines = 0 if not workers else workers[0].log.read_text().count("worker ready")
        workers.append(WorkerProcess(settings, program))
        wait_until(lambda: workers[0].log.read_text().count("worker ready") > lines, seconds=60)
        return workers[-1]

    assert store is not None  # Redis is up
    yield start
    for worker in workers:
        worker.process.kill()
        worker.process.wait()


@pytest.fixture
def accept(store: JobStore, payloads: Payloads) -> Callable[..., Job]:
    def accept(batches: int, method: Method = Method.TREE_PATH_DEPENDENT) -> Job:
        job = Job(
            id=new_job_id(),
            model="wine@1",
            method=method,
            rows=batches * 10,
            batch_rows=10,
            features=FEATURES,
            outputs=3,
            created_at=time.time(),
            request="r-1",
        )
        for batch in range(batches):
            payloads.put_rows(job, batch, np.full((10, FEATURES), batch, dtype=np.float32))
        return store.accept(job).job

    return accept
