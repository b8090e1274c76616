"""The three programs' work for the jobs of a history, with their own code."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import numpy as np

from services.api.app import create_app
from services.api.capacity.results import Need
from services.api.components import Components
from services.api.http.concurrency_limits import PLOTS, STREAMS, UPLOADS
from services.monitor.events.listener import ExitReport
from services.monitor.monitor import Monitor
from services.monitor.recovery.worker_exits import Machine
from services.worker import __main__ as worker_program
from services.worker.worker import BatchWorker
from shared.engines.compiled_engine import CompiledEngine
from shared.explanation import Matrix
from shared.log import configure_logging
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect
from shared.settings import Settings
from shared.timing import TIMING
from tests.integration.api.api_client import NPY, InProcess, Reply

#: This machine's name, and that of its worker.
HOST, WORKER = "box", "worker-1"
#: The statuses after which a client sends its request again, and how often it does.
AGAIN, ATTEMPTS = frozenset({500, 503, 507}), 25

#: Counts the calls of a program during a block.
type Counting = Callable[[], AbstractContextManager[None]]


@dataclass
class Sent:
    """The rows of a job, its key, and its expected values."""

    key: str
    path: str
    rows: Matrix
    expected: Matrix
    #: The job's id, once it is known.
    id: str = ""


@dataclass
class Seen:
    """A client's findings: ids by key, statuses of refusals, errors of the application."""

    ids: dict[str, str] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    escaped: list[str] = field(default_factory=list)


class Api:
    """The api's application in this process, without a server, and its client."""

    def __init__(self, settings: Settings, counting: Counting, *, start_counts: bool) -> None:
        configure_logging(settings, "api")
        self._counting = counting
        self.seen = Seen()
        if start_counts:
            with counting():
                self._start(settings)
        else:
            self._start(settings)
        self._client = InProcess(self._counted_app)  # type: ignore[arg-type]  # it is called like one

    def _start(self, settings: Settings) -> None:
        activations = Activations.read(settings.activations_file)
        self.components = Components(
            settings,
            connect(settings, Patience.IMPATIENT, name="api"),
            connect(settings, Patience.STEADY, name="api-background"),
            Payloads.open(settings),
            ModelCatalog.load(settings.models_dir, settings.placeholders_dir, activations),
            activations=activations,
        )
        self.components.inline_models.open()
        self._app = create_app(self.components)

    def _counted_app(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._counting():
            body = self._app(environ, start_response)
            parts = list(body)
            if hasattr(body, "close"):
                body.close()
            return parts

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply | None:
        """Send a request until it is served; None if it never was."""
        for _ in range(ATTEMPTS):
            try:
                reply = self._client.call(method, path, body, headers)
            except (MemoryError, SystemError) as fault:  # the server closes the connection
                self.seen.escaped.append(f"{method} {path}: {fault!r}")
                continue
            if reply.status not in AGAIN:
                return reply
            self.seen.refusals[f"{reply.status} {reply.slug}"] += 1
        return None

    def submit(self, jobs: Sequence[Sent]) -> Seen:
        """Have every job accepted."""
        for job in jobs:
            body = io.BytesIO()
            np.save(body, job.rows)
            reply = self.ask(
                "POST",
                job.path,
                body.getvalue(),
                {"Content-Type": NPY, "Accept": NPY, "Idempotency-Key": job.key},
            )
            assert reply is not None, f"{job.key} is never accepted"
            assert reply.status in {200, 202}, reply
            place = reply.headers.get("location") or reply.headers["content-location"]
            self.seen.ids[job.key] = place.split("/")[3]
        return self._ended()

    def read(self, jobs: Sequence[Sent]) -> Seen:
        """Check documents, values, summaries and the list."""
        for job in jobs:
            document = self._served("GET", f"/v1/jobs/{job.id}").json
            assert document["status"] == "completed", document
            assert document["batches"]["completed"] == document["batches"]["total"]
            result = self._served("GET", f"/v1/jobs/{job.id}/result", Accept=NPY)
            values = np.load(io.BytesIO(result.body)).reshape(job.expected.shape)
            np.testing.assert_allclose(values, job.expected, rtol=1e-4, atol=1e-4)
            assert self._served("GET", f"/v1/jobs/{job.id}/summary").json["rows"] == len(job.rows)
        listed = [document["id"] for document in self._served("GET", "/v1/jobs").json["jobs"]]
        assert listed == sorted((job.id for job in jobs), reverse=True)
        for place in ("/healthz", "/v1/appliance", "/v1/models"):
            assert self.ask("GET", place) is not None
        return self._ended()

    def delete(self, jobs: Sequence[Sent]) -> Seen:
        """Delete jobs that have ended."""
        for job in jobs:
            reply = self.ask("DELETE", f"/v1/jobs/{job.id}")
            assert reply is not None
            assert reply.status in {204, 404}, reply
            assert self._served("GET", f"/v1/jobs/{job.id}", 404).slug == "job-not-found"
        return self._ended()

    def _served(self, method: str, path: str, status: int = 200, **headers: str) -> Reply:
        reply = self.ask(method, path, headers=headers)
        assert reply is not None, f"{method} {path} is never served"
        assert reply.status == status, reply
        return reply

    def _ended(self) -> Seen:
        """Check that this process holds nothing any more."""
        parts, reservations = self.components, self.components.result_reservations
        assert not reservations._entering, reservations._entering
        reservations.refresh(parts.store)
        active = {job.id: Need.of_rest(job) for job in parts.store.active()}
        assert reservations._needs == active
        assert reservations._total == sum(active.values(), start=Need())
        assert not parts.upload_disk._coming
        limits = {parts.uploads: UPLOADS, parts.streams: STREAMS, parts.plots: PLOTS}
        for limit, most in limits.items():
            assert limit._free._value == most, limit
        parts.counters.flush()
        return self.seen


def work(counting: Counting, *, killed: bool) -> int:
    """Run a worker until no batch waits; `killed`: in the middle of its first one."""
    dequeue = BatchWorker._dequeue

    def dequeue_or_end(worker: BatchWorker, *given: Any) -> Any:
        found = dequeue(worker, *given)
        worker._stop_requested |= found is None
        return found

    def work_off(worker: BatchWorker) -> None:
        worker.work(burst=True, logging_level="WARNING")

    mock.patch.multiple(BatchWorker, _dequeue=dequeue_or_end, serve=work_off).start()
    mock.patch.object(os, "nice").start()
    if killed:
        _kill_in_the_first_batch()
    sys.argv = ["worker", "--name", WORKER]
    with counting():
        return worker_program.main()


def _kill_in_the_first_batch() -> None:
    explain = CompiledEngine.explain

    def explain_or_die(engine: CompiledEngine, rows: Matrix) -> Any:
        if len(rows) > 1:  # not the one of the warm-up
            os.kill(os.getpid(), signal.SIGKILL)
        return explain(engine, rows)

    mock.patch.object(CompiledEngine, "explain", explain_or_die).start()


def watch(settings: Settings, reports: Sequence[ExitReport], counting: Counting) -> None:
    """Turn the monitor's loops twice: before and after every live worker's heartbeat."""
    configure_logging(settings, "monitor")
    with counting():
        monitor = Monitor(settings, Machine(HOST, os.getppid()), "commit")
        for report in reports:
            monitor._rescue.worker_exited(report)
        for _ in range(2):
            for loop in monitor._loops:
                loop.turn()
            time.sleep(TIMING.settling_seconds)


def sweep(settings: Settings, counting: Counting) -> None:
    """Do the same when every result has expired."""
    watch(replace(settings, result_ttl_hours=-1.0), (), counting)
