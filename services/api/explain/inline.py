"""Explains small requests in the api's process, from the tables that the workers map, too.

There a row of a compiled model takes less time than its way through the queue. Everything else goes to the workers:
models that are not compiled, interactions, and many rows. Nothing is promised that a crash could lose: the client has
its values, or sends the request again.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from dataclasses import dataclass, replace

import numpy as np

from services.api.explain.plan import Inline, Plan, Task
from services.api.explain.queued import QueuedExecutor, new_job
from services.api.rows.chunks import Matrix
from shared import metrics
from shared.appliance.counters import Counters
from shared.cgroup import usable_processors
from shared.engines.checks import EngineCalls
from shared.engines.compiled_engine import CompiledEngine, tables_path
from shared.errors import EngineFaultError
from shared.explanation import Explanation
from shared.jobs.document import Job, Method, Status
from shared.jobs.ids import new_job_id
from shared.log import add_to_log_context
from shared.memory import MAPPED_SHARE
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from shared.settings import Settings

#: Rows that are explained inline, at most: one block of the kernels.
MOST_ROWS = 256
#: Numbers of their explanation, at most.
MOST_NUMBERS = 131_072
#: Seconds that explaining them may take, at most: others need the processor, too.
MOST_SECONDS = 0.02
#: Calls that are measured, of which the quickest counts: the first one reads the tables' pages.
TRIALS = 4
#: Bytes of a body that may hold so few rows; a larger one is read without holding its rows in memory.
MOST_BODY = 256 * 1024

_log = logging.getLogger("shapbox.inline")


@dataclass(frozen=True, slots=True)
class InlineModel:
    """A compiled model, and how many rows of it are explained inline."""

    engine: CompiledEngine
    rows: int

    @classmethod
    def of(cls, version: ModelVersion, engine: CompiledEngine) -> InlineModel:
        """Measure how long a block of rows takes on this machine."""
        rows = np.zeros((MOST_ROWS, len(version.features)), dtype=np.float32)
        block = min(_processor_seconds(engine, rows) for _ in range(TRIALS))
        in_time = int(MOST_SECONDS * MOST_ROWS / max(block, 1e-6))
        in_memory = MOST_NUMBERS // Explanation.numbers_of(len(version.outputs), len(version.features))
        return cls(engine, min(MOST_ROWS, in_time, in_memory))


def _processor_seconds(engine: CompiledEngine, rows: Matrix) -> float:
    """Return the processor time of this thread alone: other programs start meanwhile."""
    started = time.thread_time()
    engine.explain(rows)
    return time.thread_time() - started


class InlineModels:
    """The compiled models that this process has mapped. Safe for several threads."""

    def __init__(self, catalog: ModelCatalog, settings: Settings, at_once: int | None = None) -> None:
        """No model is open yet. `at_once`: requests that are explained at a time."""
        self._catalog = catalog
        self._folder = settings.compiled_dir
        self._bytes_left = int(settings.memory_limit_mb * MAPPED_SHARE * 2**20)
        self._models: dict[tuple[str, Method], InlineModel] = {}
        #: The kernels release the GIL: without a limit all of the server's threads would compute at a time, none of them
        #: sooner than one after the other, and leave next to nothing of the processors to the workers.
        self.processors = threading.Semaphore(at_once or usable_processors())

    def start(self) -> None:
        """Open in the background: until then everything goes to the workers."""
        threading.Thread(target=self.open, name="inline models", daemon=True).start()

    def open(self) -> None:
        """Map the compiled models that fit the memory share, newest versions first."""
        latest = self._catalog.latest()
        older = [version for version in self._catalog.versions() if version not in latest]
        for version, method in itertools.product((*latest, *older), Method):
            try:
                self._open(version, method)
            except Exception:  # noqa: BLE001  # a fault of one model must not affect others
                _log.exception("a compiled model is left to the workers", extra={"model": version.id})

    def _open(self, version: ModelVersion, method: Method) -> None:
        path = tables_path(version, method, self._folder)
        size = path.stat().st_size if path is not None and path.exists() else 0
        if size > self._bytes_left:
            _log.info("a compiled model is left to the workers: no memory", extra={"model": version.id})
            return
        engine = CompiledEngine.find(version, self._folder, method)
        if engine is not None:
            self._bytes_left -= size
            self._models[version.id, method] = InlineModel.of(version, engine)

    def find(self, model_id: str, method: Method) -> InlineModel | None:
        """Return the model that explains a method inline; None if the workers must."""
        return self._models.get((model_id, method))


class InlineExecutor:
    """An Executor that explains small requests and passes all others on to the queue."""

    def __init__(self, models: InlineModels, queued: QueuedExecutor, counters: Counters) -> None:
        self._models = models
        self._queued = queued
        self._counters = counters

    def run(self, task: Task) -> Inline | Job:
        """Explain the rows, and keep them as a completed job if the client may come back for it.

        Raises what is wrong with the rows; EngineFaultError if the engine fails or its sums are off, and then nothing is kept;
        and, where a job is kept or queued, as QueuedExecutor does.
        """
        started = time.monotonic()
        plan = task.plan
        model = self._models.find(plan.model_id, plan.method) if plan.interactions is None else None
        rows = None if model is None else _read_few(task, model.rows)
        if model is None or rows is None:
            return self._queued.run(task)
        began = time.time()
        explanation, residual = self._explain(plan, model, rows)
        if not task.keeps_job:
            self._count_rows(plan, len(rows))
            done: Inline | Job = Inline(plan, explanation)
        else:
            job = replace(
                new_job(task, new_job_id(), len(rows)),
                status=Status.COMPLETED,
                created_at=began,
                started_at=began,
                finished_at=time.time(),
                largest_residual=residual,
            )
            done = self._queued.keep(task, job, rows, explanation)
        if isinstance(done, Inline):
            for metric in (metrics.BATCH_SECONDS, metrics.JOB_SECONDS):
                self._counters.observe(metric, time.monotonic() - started)
            self._counters.most(metrics.LARGEST_RESIDUAL, residual, plan.model_id)
        return done

    def _explain(self, plan: Plan, model: InlineModel, rows: Matrix) -> tuple[Explanation, float]:
        """Return the rows' explanation and its largest residual. Raises EngineFaultError."""
        calls = EngineCalls(plan.engine, plan.model_id)
        try:
            with self._models.processors:
                explanation = calls.explain(model.engine.explain, rows)
        except EngineFaultError:
            self._counters.add(metrics.ENGINE_FAULTS, plan.model_id)
            raise
        return explanation, calls.largest_residual

    def _count_rows(self, plan: Plan, rows: int) -> None:
        """Count what is counted in Redis for jobs that are kept there."""
        add_to_log_context(model=plan.model_id, rows=rows)
        self._counters.add(metrics.JOBS, Status.COMPLETED.value)
        self._counters.add(metrics.ROWS_EXPLAINED, plan.model_id, amount=rows)


def _read_few(task: Task, most: int) -> Matrix | None:
    """Return all rows if there are no more than `most`, else None."""
    if task.body.size > MOST_BODY:
        return None
    chunks = task.body.chunks(task.plan.spec)
    rows = next(chunks)
    if len(rows) > most or next(chunks, None) is not None:
        return None
    task.wanted.of(len(rows))
    return rows
