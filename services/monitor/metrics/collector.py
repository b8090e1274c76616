"""All families of /metrics, and their HTTP server. A scrape reports stored measurements."""

from __future__ import annotations

import platform
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from services.monitor.events.programs import RUNNING, Programs
from services.monitor.guard.memory_gauge import MemoryGauge
from services.monitor.metrics.pulse import Pulse
from services.monitor.metrics.storage_use import StorageUse
from shared import metrics
from shared.appliance.api_load import ApiLoad
from shared.build import VERSION, library_versions
from shared.errors import BootError
from shared.jobs.ids import made_at
from shared.metrics import BUCKETS, METRICS, PREFIX, Metric, MetricKind
from shared.models.activation.records import ExplanationKind
from shared.models.catalog import RefusedModel
from shared.models.version import ModelVersion
from shared.network import is_everywhere
from shared.settings import Role, Settings

#: The name of a metric, or part of one, and the values of its labels.
type Key = tuple[str, ...]

#: The histograms' upper bounds, as labels.
BOUNDS = (*(str(bound) for bound in BUCKETS), "+Inf")
#: The families of counters and histograms; all others are gauges.
KINDS: dict[MetricKind, Any] = {
    MetricKind.COUNTER: CounterMetricFamily,
    MetricKind.HISTOGRAM: HistogramMetricFamily,
}


class Numbers(dict[Key, float]):
    """The values of metrics by (name, label values…), which is also how Redis keeps its sums."""

    def put(self, metric: Metric, value: float | None, *labels: str) -> None:
        """Set a value, unless it is unknown."""
        if value is not None:
            self[metric.name, *labels] = float(value)


def serve_metrics(settings: Settings, collector: Collector) -> Any:
    """Serve the collector's families on METRICS_PORT in a thread; returns the server.

    All interfaces if HOST is all interfaces, else this machine's own. Raises BootError if the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    address = settings.host if is_everywhere(settings.host) else "127.0.0.1"
    try:
        server, _ = start_http_server(settings.metrics_port, address, registry)
    except OSError as fault:
        raise BootError(
            f"METRICS_PORT {settings.metrics_port} cannot be opened on {address} ({fault.strerror}): "
            "stop what uses it, or choose another one."
        ) from fault
    return server


class MonitorCollector(Collector):
    """Facts, measurements of this machine, and the last reading of Redis.

    For a container without an api the collector reports only whether Redis answers: sums, queues and workers are shared,
    and would count N times if N containers exported them.
    """

    def __init__(
        self,
        facts: Numbers,
        zeros: Numbers,
        gauge: MemoryGauge,
        storage: StorageUse,
        programs: Programs,
        pulse: Pulse,
        settings: Settings,
    ) -> None:
        self._facts = facts
        self._zeros = zeros
        self._gauge = gauge
        self._storage = storage
        self._programs = programs
        self._pulse = pulse
        self._settings = settings
        self._queue_limit = None if settings.role is Role.WORKER else settings.max_queued_batches

    def collect(self) -> Iterator[Family]:
        """Yield the families; unknown values are left out."""
        return families(self._of_redis() | self._of_machine() | self._of_api() | self._facts)

    def _of_machine(self) -> Numbers:
        """Return memory, disk and programs: what is known without Redis."""
        numbers = Numbers()
        if (state := self._gauge.state) is not None:
            marks = self._gauge.marks
            numbers.put(metrics.MEMORY_LIMIT, marks.soft)
            numbers.put(metrics.MEMORY_CONTAINER_LIMIT, self._gauge.container_limit)
            numbers.put(metrics.WORKER_MEMORY_LIMIT, marks.worker or None)
            numbers.put(metrics.MEMORY_WORKING_SET, state.working_set)
            for name, size in state.by_program.items():
                numbers.put(metrics.PROCESS_MEMORY, size, name)
        numbers.put(metrics.STORAGE_BYTES, self._storage.used)
        if (disk := self._pulse.disk) is not None:
            numbers.put(metrics.STORAGE_FREE_BYTES, disk.bytes)
            numbers.put(metrics.STORAGE_CAPACITY, disk.capacity_bytes)
            numbers.put(metrics.STORAGE_FREE_INODES, disk.inodes)
        for name, state_of_program in self._programs.states().items():
            numbers.put(metrics.PROGRAM_UP, state_of_program == RUNNING, name)
        return numbers

    def _of_api(self) -> Numbers:
        """Return the use of the api's limits, as it wrote it last."""
        numbers = Numbers()
        if self._settings.role is not Role.WORKER:
            numbers.put(metrics.HTTP_CONNECTIONS_LIMIT, self._settings.max_connections)
            numbers.put(metrics.HTTP_WAITS_LIMIT, self._settings.max_waiting_requests)
        if (load := ApiLoad.read(self._settings.load_file)) is not None:
            numbers.put(metrics.HTTP_CONNECTIONS, load.connections)
            numbers.put(metrics.HTTP_WAITS, load.waits)
        return numbers

    def _of_redis(self) -> Numbers:
        """Return all that Redis tells; while it is away, only that."""
        state = self._pulse.redis_state
        numbers = Numbers()
        up = self._pulse.redis_up if self._queue_limit is None else state is not None
        numbers.put(metrics.REDIS_UP, up)
        numbers.put(metrics.REDIS_WRITABLE, self._pulse.redis_writable if up else None)
        numbers.put(metrics.REDIS_PING, self._pulse.ping_seconds if up else None)
        numbers.put(metrics.QUEUE_LIMIT, self._queue_limit)
        if state is None:
            return numbers
        numbers |= self._zeros
        for name in self._programs.states():
            numbers.put(metrics.PROGRAM_EXITS, 0, name)
        numbers |= state.sums
        numbers.put(metrics.REDIS_MEMORY, state.used_bytes)
        numbers.put(metrics.REDIS_MEMORY_LIMIT, state.limit_bytes or None)
        numbers.put(metrics.WORK_PROGRESSES, self._pulse.progresses)
        for lane, head in state.heads.items():
            numbers.put(metrics.QUEUE_BATCHES, state.waiting[lane], lane)
            numbers.put(metrics.QUEUE_OLDEST, max(0.0, time.time() - made_at(head)) if head else 0.0, lane)
        for name, workers in Counter(heartbeat.state for heartbeat in state.heartbeats.values()).items():
            numbers.put(metrics.WORKERS, workers, name)
        return numbers


def facts_of(
    served: Iterable[ModelVersion], refused: Iterable[RefusedModel], commit: str, started: float | None
) -> Numbers:
    """Return the build and the models, which do not change.

    `started` is in seconds since the epoch.
    """
    numbers = Numbers()
    libraries = library_versions()
    numbers.put(metrics.BUILD_INFO, 1, VERSION, commit, platform.python_version(), libraries["xgboost"])
    numbers.put(metrics.START_TIME, started)
    for model in served:
        name = (model.name, str(model.version))
        engines = {wanted: model.method_record(wanted).engine for wanted in ExplanationKind}
        engine = engines[ExplanationKind.TREE_PATH_DEPENDENT] or ""
        numbers.put(metrics.MODEL_INFO, 1, *name, engine, str(model.fallback).lower())
        numbers.put(metrics.MODEL_REFUSED, 0, *name)
        for wanted, engine_of_method in engines.items():
            if engine_of_method:
                numbers.put(metrics.MODEL_ENGINE_INFO, 1, *name, wanted, engine_of_method)
    for one in refused:
        numbers.put(metrics.MODEL_REFUSED, 1, one.name, str(one.version))
    return numbers


def zeros_of(models: Iterable[str]) -> Numbers:
    """Return the numbers that Redis's metrics begin with.

    `models` are the NAME@VERSION that are served.
    """
    numbers = Numbers()
    for metric in METRICS:
        if not metric.labels and metric.kind is MetricKind.COUNTER:
            numbers.put(metric, 0)
        elif not metric.labels and metric.kind is MetricKind.HISTOGRAM:
            numbers[f"{metric.name}_sum",] = 0.0
        per_model = metric.kind is MetricKind.COUNTER and metric.labels == ("model",)
        for label in models if per_model else metric.known:
            numbers.put(metric, 0, label)
    return numbers


def families(numbers: Mapping[Key, float]) -> Iterator[Family]:
    """Yield the families of all metrics, also of those without numbers."""
    by_name: defaultdict[str, dict[Key, float]] = defaultdict(dict)
    for key, number in sorted(numbers.items()):
        by_name[key[0]][key[1:]] = number
    for metric in METRICS:
        family = KINDS.get(metric.kind, GaugeMetricFamily)(
            PREFIX + metric.name, metric.help, labels=metric.labels
        )
        if metric.kind is MetricKind.HISTOGRAM:
            _add_histograms(family, metric, by_name[f"{metric.name}_bucket"], by_name[f"{metric.name}_sum"])
        else:
            for labels, number in by_name[metric.name].items():
                if _fits(metric, labels):
                    family.add_metric(labels, number)
        yield family


def _add_histograms(
    family: HistogramMetricFamily, metric: Metric, buckets: Mapping[Key, float], sums: Mapping[Key, float]
) -> None:
    """Add one histogram by label values. The last label of a bucket is its upper bound."""
    for labels in sorted({*sums, *(key[:-1] for key in buckets)}):
        if _fits(metric, labels):
            each = accumulate(buckets.get((*labels, bound), 0.0) for bound in BOUNDS)
            family.add_metric(labels, list(zip(BOUNDS, each, strict=True)), sums.get(labels, 0.0))


def _fits(metric: Metric, labels: Key) -> bool:
    """Return False for label values that another version of Shapbox wrote."""
    return len(labels) == len(metric.labels)
