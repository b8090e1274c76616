"""The counters, histograms and maxima that all processes add to, and Redis keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.metrics_core import Metric as Family

from services.monitor.metrics.families import Labels, family, histogram
from shared.metrics import METRICS, Metric, MetricKind

#: What Redis holds: (name, label values…) → sum.
type Sums = Mapping[tuple[str, ...], float]


def sum_families(sums: Sums, models: Sequence[str]) -> Iterator[Family]:
    """Yield all counters, histograms and maxima. `models` are the NAME@VERSION that are served."""
    for metric in METRICS:
        if metric.kind is MetricKind.COUNTER:
            yield family(
                metric, {**_from_the_start(metric, models), **_of(sums, metric.name, len(metric.labels))}
            )
        elif metric.kind is MetricKind.MAXIMUM:
            yield family(metric, _of(sums, metric.name, len(metric.labels)))
        elif metric.kind is MetricKind.HISTOGRAM:
            counts = _of(sums, f"{metric.name}_bucket", len(metric.labels) + 1)
            yield histogram(metric, counts, _of(sums, f"{metric.name}_sum", len(metric.labels)))


def _from_the_start(metric: Metric, models: Sequence[str]) -> dict[Labels, float]:
    """Return the zeros of a counter without labels, or by model."""
    if metric.labels == ("model",):
        return dict.fromkeys(((model,) for model in models), 0.0)
    return {} if metric.labels else {(): 0.0}


def _of(sums: Sums, name: str, labels: int) -> dict[Labels, float]:
    # A field with another number of labels was written by another version of Shapbox.
    return {key[1:]: value for key, value in sums.items() if key[0] == name and len(key) == labels + 1}
