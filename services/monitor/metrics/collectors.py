"""All families of /metrics, and their HTTP server. A scrape reports stored measurements."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from services.monitor.events.programs import Programs
from services.monitor.guard.memory_gauge import MemoryGauge
from services.monitor.metrics.families import family, sum_families
from services.monitor.metrics.pulse import Pulse, RedisState
from services.monitor.metrics.storage_use import StorageUse
from shared import metrics
from shared.build import VERSION, library_versions
from shared.errors import BootError
from shared.jobs.ids import made_at
from shared.models.activation.records import ExplanationKind
from shared.models.catalog import RefusedModel
from shared.models.version import ModelVersion
from shared.settings import Settings

#: The addresses that mean "all interfaces".
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not bound to


def serve_metrics(settings: Settings, registry: CollectorRegistry) -> Any:
    """Serve `registry` on METRICS_PORT in a thread; returns the server.

    All interfaces if HOST is all interfaces, else this machine's own. Raises BootError if the port is taken.
    """
    address = settings.host if settings.host in EVERYWHERE else "127.0.0.1"
    try:
        server, _ = start_http_server(settings.metrics_port, address, registry)
    except OSError as fault:
        raise BootError(
            f"METRICS_PORT {settings.metrics_port} cannot be opened on {address} ({fault.strerror}): "
            "stop what uses it, or choose another one."
        ) from fault
    return server


class FactsCollector(Collector):
    """The build and the models, which do not change. `started` is in seconds since the epoch."""

    def __init__(
        self,
        models: Iterable[ModelVersion],
        refused: Iterable[RefusedModel],
        commit: str,
        started: float | None,
    ) -> None:
        build = (VERSION, commit, platform.python_version(), library_versions()["xgboost"])
        self._families = [family(metrics.BUILD_INFO, {build: 1.0}), *_model_families(tuple(models), refused)]
        if started is not None:
            self._families.append(family(metrics.START_TIME, started))

    def collect(self) -> Iterator[Family]:
        """Yield the families."""
        return iter(self._families)


class MachineCollector(Collector):
    """Memory, disk and programs: what is known without Redis."""

    def __init__(self, gauge: MemoryGauge, storage: StorageUse, programs: Programs, pulse: Pulse) -> None:
        self._gauge = gauge
        self._storage = storage
        self._programs = programs
        self._pulse = pulse

    def collect(self) -> Iterator[Family]:
        """Yield the families; unknown values are left out."""
        yield from self._memory()
        yield from self._disk()
        up = {(name,): float(runs) for name, runs in self._programs.up().items()}
        yield family(metrics.PROGRAM_UP, up)

    def _disk(self) -> Iterator[Family]:
        if self._storage.used is not None:
            yield family(metrics.STORAGE_BYTES, self._storage.used)
        if (disk := self._pulse.disk) is not None:
            yield family(metrics.STORAGE_FREE_BYTES, disk.bytes)
            yield family(metrics.STORAGE_CAPACITY, disk.capacity_bytes)
            if disk.inodes is not None:
                yield family(metrics.STORAGE_FREE_INODES, disk.inodes)

    def _memory(self) -> Iterator[Family]:
        state = self._gauge.state
        if state is None:
            return
        marks, container = self._gauge.marks, self._gauge.container_limit
        yield family(metrics.MEMORY_LIMIT, marks.soft)
        if container is not None:
            yield family(metrics.MEMORY_CONTAINER_LIMIT, container)
        if marks.worker:
            yield family(metrics.WORKER_MEMORY_LIMIT, marks.worker)
        yield family(metrics.MEMORY_WORKING_SET, state.working_set)
        sizes = {(name,): float(size) for name, size in state.processes.by_program.items()}
        yield family(metrics.PROCESS_MEMORY, sizes)


class RedisCollector(Collector):
    """The last reading of Redis. `queue_limit` is MAX_QUEUED_BATCHES.

    Without it the collector reports only whether Redis answers, as for containers without an api: sums, queues and workers
    are shared, and would count N times if N containers exported them.
    """

    def __init__(self, pulse: Pulse, models: Sequence[str], queue_limit: int | None) -> None:
        self._pulse = pulse
        self._models = models
        self._queue_limit = queue_limit

    def collect(self) -> Iterator[Family]:
        """Yield the families; without Redis, only that it is away."""
        state = self._pulse.redis_state
        up = self._pulse.redis_up if self._queue_limit is None else state is not None
        yield family(metrics.REDIS_UP, float(up))
        if up:
            yield family(metrics.REDIS_PING, self._pulse.ping_seconds)
        if self._queue_limit is not None:
            yield family(metrics.QUEUE_LIMIT, self._queue_limit)
        if state is None:
            return
        yield family(metrics.REDIS_MEMORY, state.used_bytes)
        if state.limit_bytes:
            yield family(metrics.REDIS_MEMORY_LIMIT, state.limit_bytes)
        yield from sum_families(state.sums, self._models)
        yield from _queue_families(state, time.time())
        doing = Counter(heartbeat.state for heartbeat in state.heartbeats.values())
        yield family(metrics.WORKERS, {(name,): float(number) for name, number in doing.items()})


def _model_families(served: Sequence[ModelVersion], refused: Iterable[RefusedModel]) -> Iterator[Family]:
    """Yield what is known of each model's version."""
    infos = {
        (*_version(m), _engine(m, ExplanationKind.TREE_PATH_DEPENDENT), str(m.fallback).lower()): 1.0
        for m in served
    }
    yield family(metrics.MODEL_INFO, infos)
    engines = {
        (*_version(m), wanted.value, engine): 1.0
        for m in served
        for wanted in ExplanationKind
        if (engine := _engine(m, wanted))
    }
    yield family(metrics.MODEL_ENGINE_INFO, engines)
    states = {**{_version(m): 0.0 for m in served}, **{_version(one): 1.0 for one in refused}}
    yield family(metrics.MODEL_REFUSED, states)


def _version(model: ModelVersion | RefusedModel) -> tuple[str, str]:
    return model.name, str(model.version)


def _engine(version: ModelVersion, wanted: ExplanationKind) -> str:
    return version.method_record(wanted).engine or ""


def _queue_families(state: RedisState, now: float) -> Iterator[Family]:
    waiting = {(lane.value,): float(count) for lane, count in state.waiting.items()}
    ages = {
        (lane.value,): max(0.0, now - made_at(head)) if head else 0.0 for lane, head in state.heads.items()
    }
    yield family(metrics.QUEUE_BATCHES, waiting)
    yield family(metrics.QUEUE_OLDEST, ages)
