"""Makes prometheus_client's families from our metrics and from the sums that Redis keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from shared.metrics import BUCKETS, METRICS, PREFIX, Metric, MetricKind

type Labels = tuple[str, ...]
#: The sums in Redis: (name, label values…) → sum.
type Sums = Mapping[tuple[str, ...], float]

#: The histograms' upper bounds, as labels.
_BOUNDS = (*(str(bound) for bound in BUCKETS), "+Inf")


def family[L: Labels](metric: Metric, values: Mapping[L, float] | float) -> Family:
    """Return the family of a counter or gauge: one number, or one by the values of its labels."""
    kind = CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
    found = kind(PREFIX + metric.name, metric.help, labels=metric.labels)
    numbers: dict[Labels, float] = {(one,): 0.0 for one in metric.known}
    numbers |= dict(values.items()) if isinstance(values, Mapping) else {(): values}
    for labels, number in sorted(numbers.items()):
        found.add_metric(labels, number)
    return found


def histogram(metric: Metric, counts: Mapping[Labels, float], sums: Mapping[Labels, float]) -> Family:
    """Return the family of a histogram. The last label of `counts` is a bucket's upper bound."""
    found = HistogramMetricFamily(PREFIX + metric.name, metric.help, labels=metric.labels)
    # A histogram without labels is exported from the start, as 0.
    for labels in sorted({key[:-1] for key in counts} | ({()} if not metric.labels else set())):
        each = accumulate(counts.get((*labels, bound), 0.0) for bound in _BOUNDS)
        found.add_metric(labels, list(zip(_BOUNDS, each, strict=True)), sums.get(labels, 0.0))
    return found


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
