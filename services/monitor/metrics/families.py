"""Makes prometheus_client's families from our metrics."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from shared.metrics import BUCKETS, PREFIX, Metric, MetricKind

type Labels = tuple[str, ...]

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
