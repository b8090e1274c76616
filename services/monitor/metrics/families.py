"""Makes metric families with the common prefix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

#: Stands before each metric's name.
PREFIX = "shapbox_"

type Labels = tuple[str, ...]


def gauge(name: str, text: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def gauges(name: str, text: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    """Return a gauge with labels."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, value in sorted(values.items()):
        family.add_metric(label_values, value)
    return family


def counters(
    name: str, text: str, labels: Sequence[str], sums: Mapping[Labels, float], known: Iterable[Labels] = ()
) -> Metric:
    """Return a counter (`name` ends in _total); label values in `known` are there from the start, as 0."""
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, value in sorted({**dict.fromkeys(known, 0.0), **sums}.items()):
        family.add_metric(label_values, value)
    return family
