"""All metrics: name, kind, help, labels and, if known in advance, the values of the label.

Counters are kept in Redis (shared/appliance/counters.py, shared/jobs/lua/); the monitor exports all metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from shared.jobs.document import Status

#: The prefix of every name where it is exported.
PREFIX = "shapbox_"
#: Separates a metric's name from the values of its labels in Redis.
SEPARATOR = "|"

#: Upper bounds of the histograms' buckets, in seconds.
BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0),
)


class MetricKind(Enum):
    """All processes keep the first three in Redis; the monitor measures gauges."""

    COUNTER = auto()
    HISTOGRAM = auto()
    #: The largest value ever; exported as a gauge.
    MAXIMUM = auto()
    GAUGE = auto()


class RecoveryCause(StrEnum):
    """Why a batch runs again."""

    WORKER_DIED = "worker_died"
    LEFT = "left"
    LEASE = "lease"
    LOST = "lost"
    HUNG = "hung"
    HANDED_BACK = "handed_back"


class RecycleReason(StrEnum):
    """Why a worker is replaced; `self` (it has grown) and `shap` are its own decisions."""

    MEMORY_SOFT = "memory_soft"
    MEMORY_HARD = "memory_hard"
    SELF = "self"
    SHAP = "shap"
    SILENT = "silent"
    ADMIN = "admin"


class ClosedConnection(StrEnum):
    """Why the api closed a connection that its client had not finished with."""

    EVICTED = "evicted"
    REFUSED = "refused"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. `known` are the values of its one label that are exported from the start."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


def _counter(name: str, text: str, *labels: str, known: tuple[str, ...] = ()) -> Metric:
    return Metric(name, MetricKind.COUNTER, text, labels, known)


def _histogram(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, MetricKind.HISTOGRAM, text, labels)


def _gauge(name: str, text: str, *labels: str, known: tuple[str, ...] = ()) -> Metric:
    return Metric(name, MetricKind.GAUGE, text, labels, known)


ENDED = tuple(status.value for status in Status if status.ended)

JOBS = _counter("jobs_total", "Jobs that have ended, by status.", "status", known=ENDED)
ROWS_EXPLAINED = _counter("rows_explained_total", "Rows whose SHAP values were recorded, each once.", "model")
BATCHES_RECOVERED = _counter(
    "batches_recovered_total", "Batches queued again, by cause.", "cause", known=tuple(RecoveryCause)
)
BATCHES_POISONED = _counter("batches_poisoned_total", "Batches that failed their job by ending workers.")
WORKER_RECYCLES = _counter(
    "worker_recycles_total", "Workers that were replaced, by reason.", "reason", known=tuple(RecycleReason)
)
WORKER_CRASHES = _counter("worker_crashes_total", "Workers that ended unexpectedly without a batch.")
PROGRAM_EXITS = _counter("program_exits_total", "Unexpected exits of a program.", "program")
API_RECYCLES = _counter(
    "api_recycles_total", "Times that the api was restarted because it had grown and memory was at its limit."
)
MEMORY_UNRELIEVED = _counter(
    "memory_unrelieved_total", "Minutes at the memory limit that recycling could not end."
)
ENGINE_FAULTS = _counter(
    "engine_faults_total",
    "Batches and requests that failed because an engine failed, or its values did not add up to the margin.",
    "model",
)
STORAGE_FAULTS = _counter(
    "storage_faults_total", "Probes of the object store that failed for another reason than a full disk."
)
HTTP_REQUESTS = _counter("http_requests_total", "Answered HTTP requests.", "method", "route", "status")
HTTP_CONNECTIONS_CLOSED = _counter(
    "http_connections_closed_total",
    "Connections that a limit closed, by reason.",
    "reason",
    known=tuple(ClosedConnection),
)

HTTP_WAITS_REFUSED = _counter(
    "http_waits_refused_total", "Requests that were answered without their wait: MAX_WAITING_REQUESTS waited."
)

LARGEST_RESIDUAL = Metric(
    "largest_residual",
    MetricKind.MAXIMUM,
    "The largest residual of a model's values since the data folder was created; results beyond 1e-4 are refused.",
    ("model",),
)

BATCH_SECONDS = _histogram("batch_seconds", "Seconds from a batch's claim to its recorded result.")
JOB_SECONDS = _histogram("job_seconds", "Seconds from a job's acceptance to its completion.")
HTTP_REQUEST_SECONDS = _histogram(
    "http_request_seconds",
    "Seconds from a request's arrival to the head of its response, less the time it asked to wait for a job.",
    "route",
)

BUILD_INFO = _gauge("build_info", "This build; always 1.", "version", "commit", "python", "xgboost")
START_TIME = _gauge("start_time_seconds", "When supervisord was started, in seconds since the epoch.")
MODEL_INFO = _gauge("model_info", "A served model; always 1.", "model", "version", "engine", "fallback")
MODEL_ENGINE_INFO = _gauge(
    "model_engine_info", "A model's engine for a method; always 1.", "model", "version", "method", "engine"
)
MODEL_REFUSED = _gauge("model_refused", "1 if activation refused the version, else 0.", "model", "version")
PROGRAM_UP = _gauge("program_up", "1 if supervisord has the program running, else 0.", "program")
STORAGE_BYTES = _gauge("storage_bytes", "Bytes of all objects (rows and results).")
STORAGE_FREE_BYTES = _gauge("storage_free_bytes", "Free bytes of the disk under DATA_DIR.")
STORAGE_FREE_INODES = _gauge("storage_free_inodes", "Free inodes under DATA_DIR; absent if unlimited.")
STORAGE_CAPACITY = _gauge("storage_capacity_bytes", "Size of the disk under DATA_DIR.")
MEMORY_WORKING_SET = _gauge("memory_working_set_bytes", "Memory charged, less what is reclaimable.")
PROCESS_MEMORY = _gauge("process_memory_bytes", "PSS of each program with its children.", "process")
MEMORY_LIMIT = _gauge("memory_limit_bytes", "Where the largest worker is recycled (MEMORY_LIMIT_MB).")
MEMORY_CONTAINER_LIMIT = _gauge(
    "memory_container_limit_bytes", "Where the kernel kills; absent if the container has no limit of its own."
)
WORKER_MEMORY_LIMIT = _gauge(
    "worker_memory_limit_bytes", "Where a worker exits after its batch (WORKER_MEMORY_LIMIT_MB)."
)
REDIS_UP = _gauge("redis_up", "1 if Redis answers, else 0.")
REDIS_WRITABLE = _gauge(
    "redis_writable", "1 if Redis accepts writes; 0 if it is full, cannot write its file, or is a replica."
)
REDIS_PING = _gauge("redis_ping_seconds", "Seconds that Redis took for the last ping.")
REDIS_MEMORY = _gauge("redis_memory_bytes", "Bytes that Redis has allocated for its data.")
REDIS_MEMORY_LIMIT = _gauge(
    "redis_memory_limit_bytes", "Where Redis refuses writes (maxmemory); absent if unset."
)
HTTP_CONNECTIONS = _gauge("http_connections", "Open connections to the api.")
HTTP_CONNECTIONS_LIMIT = _gauge("http_connections_limit", "MAX_CONNECTIONS.")
HTTP_WAITS = _gauge("http_waits", "Requests that wait for a job.")
HTTP_WAITS_LIMIT = _gauge("http_waits_limit", "MAX_WAITING_REQUESTS.")
QUEUE_LIMIT = _gauge("queue_limit_batches", "Batches that may wait before jobs are refused with 429.")
QUEUE_BATCHES = _gauge("queue_batches", "Batches that wait, by queue.", "queue")
QUEUE_OLDEST = _gauge("queue_oldest_seconds", "Age of the job whose batch is next, by queue.", "queue")
WORK_PROGRESSES = _gauge(
    "work_progresses",
    "0 if batches wait or run and none has ended for four times BATCH_TIMEOUT_SECONDS, else 1.",
)
WORKERS = _gauge("workers", "Live workers, by state.", "state", known=("idle", "busy"))

#: All of them.
METRICS: tuple[Metric, ...] = tuple(found for found in list(vars().values()) if isinstance(found, Metric))
