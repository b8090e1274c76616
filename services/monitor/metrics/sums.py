"""The counters, histograms and maxima that all processes add to, and Redis keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from services.monitor.guard.guard import REASONS
from services.monitor.metrics.families import PREFIX, Labels, counters, gauges
from services.monitor.recovery.rescue import CAUSES
from shared.appliance.counters import BUCKETS
from shared.jobs.document import Status

#: What Redis holds: (name, label values…) → sum.
type Sums = Mapping[tuple[str, ...], float]

#: Counters: name → labels and help. Every name ends in _total.
COUNTERS: Mapping[str, tuple[Labels, str]] = {
    "jobs_total": (("status",), "Jobs that have ended, by how."),
    "rows_explained_total": (("model",), "Rows whose SHAP values were recorded, each once."),
    "batches_recovered_total": (("cause",), "Batches that were queued again, by why they had to be."),
    "worker_recycles_total": (("reason",), "Workers that were made to end so that a fresh one starts."),
    "memory_unrelieved_total": ((), "Minutes in which memory was at its limit and no worker was to blame."),
    "batches_poisoned_total": (
        (),
        "Batches that were given up, and failed their job, for having ended too many workers.",
    ),
    "engine_faults_total": (
        ("model",),
        "Batches and requests that failed because an engine broke, or its values did not add up to the margin.",
    ),
    "http_requests_total": (("method", "route", "status"), "HTTP requests that were answered."),
}
#: Histograms: name → labels and help.
HISTOGRAMS: Mapping[str, tuple[Labels, str]] = {
    "batch_seconds": ((), "Seconds from a batch's claim to its recorded result."),
    "job_seconds": ((), "Seconds from a job's acceptance to its completion."),
    "http_request_seconds": (
        ("route",),
        "Seconds from an HTTP request's arrival to the head of its answer, less what it waited for a job as asked.",
    ),
}
#: The histograms' upper bounds, as labels.
_BOUNDS = (*(str(bound) for bound in BUCKETS), "+Inf")


def sum_families(sums: Sums, models: Sequence[str]) -> Iterator[Metric]:
    """Yield all counters, histograms and maxima. `models` are the NAME@VERSION that are there."""
    known: dict[str, list[Labels]] = {
        "jobs_total": [(status.value,) for status in Status if status.ended],
        "rows_explained_total": [(model,) for model in models],
        "batches_recovered_total": [(cause,) for cause in CAUSES],
        "worker_recycles_total": [(reason,) for reason in REASONS],
        "memory_unrelieved_total": [()],
        "batches_poisoned_total": [()],
        "engine_faults_total": [(model,) for model in models],
    }
    for name, (labels, text) in COUNTERS.items():
        yield counters(name, text, labels, _of(sums, name, len(labels)), known.get(name, []))
    yield gauges(
        "largest_residual",
        "The largest residual of a model's values since the data folder began; beyond 1e-4 no result is given out.",
        ["model"],
        _of(sums, "largest_residual", 1),
    )
    for name, (labels, text) in HISTOGRAMS.items():
        yield _histogram(name, text, labels, sums)


def _of(sums: Sums, name: str, labels: int) -> dict[Labels, float]:
    # A field with another number of labels is of another version of Shapbox.
    return {key[1:]: value for key, value in sums.items() if key[0] == name and len(key) == labels + 1}


def _histogram(name: str, text: str, labels: Labels, sums: Sums) -> Metric:
    counts = _of(sums, f"{name}_bucket", len(labels) + 1)
    seconds = _of(sums, f"{name}_sum", len(labels))
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    # One without labels is there from the start, as 0.
    for values in sorted({key[:-1] for key in counts} | ({()} if not labels else set())):
        each = [counts.get((*values, bound), 0.0) for bound in _BOUNDS]
        family.add_metric(values, list(zip(_BOUNDS, accumulate(each), strict=True)), seconds.get(values, 0.0))
    return family
