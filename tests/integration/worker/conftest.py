"""Jobs, a runner of batches in this process, and worker processes without supervisord."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event
from typing import Any

import numpy as np
import pytest
import redis

from services.worker.batch import BatchRunner
from services.worker.exits import ShapReturn
from services.worker.models import WarmModels
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.build import ROOT
from shared.engines.lean_xgboost import import_xgboost, load_booster
from shared.explanation import Explanation, Matrix
from shared.jobs import keys
from shared.jobs.document import Job, Status
from shared.jobs.recovery import Blame, Recovery
from shared.jobs.store import JobStore
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.settings import Settings
from tests.support.jobs import a_job
from tests.support.redis_server import RedisServer, until

#: The worker's own entry point, after some changes.
WORKER = """
import sys, time
from dataclasses import replace
from shared import timing
{changes}
sys.argv = ["worker", "--name", "worker-1"]
from services.worker.__main__ import main
sys.exit(main())
"""


class Scene:
    """Jobs as the api accepts them, the store and Redis, and what a monitor would do."""

    def __init__(self, connection: redis.Redis, store: JobStore, payloads: Payloads) -> None:
        self.connection, self.store, self.payloads = connection, store, payloads
        self.catalog = ModelCatalog.load(ROOT / "models")
        self.recovery, self.heartbeats = Recovery(connection, store), Heartbeats(connection)

    def accept(self, rows: Matrix | int = 10, model: str = "wine", **more: Any) -> Job:
        """Accept a job of these rows, or of so many; `more` are its other fields."""
        version = self.catalog.get(model)
        matrix = np.zeros((rows, len(version.features)), np.float32) if isinstance(rows, int) else rows
        shape = {"features": len(version.features), "outputs": len(version.outputs)}
        job = a_job(len(matrix), model=version.id, request="r-1", **shape, **more)
        for batch in range(job.batches):
            wanted = job.rows_of(batch)
            self.payloads.put_rows(job, batch, matrix[wanted.start : wanted.stop])
        return self.store.accept(job).job

    def examples(self, model: str = "wine", rows: int = 25) -> Matrix:
        """Return examples of a model, one with a missing value."""
        path = self.catalog.get(model).examples_path
        assert path is not None
        matrix: Matrix = np.load(path)[:rows].copy()
        matrix[3, 2] = np.nan
        return matrix

    def reference(self, rows: Matrix, model: str = "wine", **what: bool) -> Any:
        version = self.catalog.get(model)
        data = import_xgboost().DMatrix(rows, feature_names=list(version.features), nthread=1)
        return load_booster(version.model_path).predict(data, **what)

    def result(self, job: Job) -> Explanation:
        return Explanation.concatenate([self.payloads.result(job, batch) for batch in range(job.batches)])

    def status(self, job: Job) -> Status:
        return self.store.get(job.id).status

    def completed(self, *jobs: Job) -> None:
        until(lambda: all(self.status(job) is Status.COMPLETED for job in jobs), 180)

    def detail(self, job: Job, slug: str = "engine-fault") -> str:
        failed = self.store.get(job.id)
        assert failed.status is Status.FAILED
        assert failed.error is not None
        assert failed.error["type"] == f"/problems/{slug}"
        return str(failed.error["detail"])

    def blame(self, job: Job, batch: int = 0) -> int:
        """Return how much a batch is blamed, in quarters of a death."""
        return int(self.connection.hget(keys.deaths(job.id), str(batch)) or 0)

    def give_back(self, blame: Blame = Blame.DEATH) -> int:
        """Give orphaned batches back, as the monitor does; return how many."""
        orphans = self.recovery.orphans(self.heartbeats.alive())
        return len([self.recovery.release(orphan, blame) for orphan in orphans])

    def nothing_is_held(self) -> bool:
        """Return whether no batch is claimed and all that are left to do wait."""
        todo = {(job.id, batch) for job in self.store.active() for batch in self.store.todo(job.id)}
        return self.recovery.running() == [] and todo == self.store.queues.waiting_batches()


class WorkerProcess:
    """A worker of its own, with these changes to its program before it starts."""

    def __init__(self, settings: Settings, changes: str, **more: str) -> None:
        self.log_path = settings.data_dir / "worker.log"
        environment = os.environ | {"DATA_DIR": str(settings.data_dir), "MODELS_DIR": str(ROOT / "models")}
        command = [sys.executable, "-c", WORKER.format(changes=changes)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment | more, stderr=log)

    def log(self) -> str:
        return self.log_path.read_text()

    def end(self) -> int:
        return self.process.wait(120)


#: Starts a worker and waits until its log has these words.
type Start = Callable[..., WorkerProcess]


@pytest.fixture
def scene(connection: redis.Redis, store: JobStore, payloads: Payloads) -> Scene:
    return Scene(connection, store, payloads)


@pytest.fixture
def runner(scene: Scene) -> BatchRunner:
    me = Heartbeat("host/worker-1", "host", os.getpid(), secrets.token_hex(4))
    stopping = Event()
    stopping.set()  # no pause after a failing store
    return BatchRunner(
        store=scene.store,
        payloads=scene.payloads,
        models=WarmModels(scene.catalog),
        counters=Counters(scene.connection),
        recovery=scene.recovery,
        me=me,
        stopping=stopping,
        shap_return=ShapReturn(scene.connection, me.token),
    )


@pytest.fixture
def start(settings: Settings, server: RedisServer) -> Iterator[Start]:
    assert server.process is not None  # Redis ends after the workers
    workers: list[WorkerProcess] = []

    def start(changes: str = "", until_it_says: str = "worker ready", **more: str) -> WorkerProcess:
        before = workers[0].log().count(until_it_says) if workers else 0
        workers.append(WorkerProcess(settings, changes, **more))
        until(lambda: workers[0].log().count(until_it_says) > before)
        return workers[-1]

    yield start
    for worker in workers:
        worker.process.terminate()  # in order, so that coverage is measured
    for worker in workers:
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(10)
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
