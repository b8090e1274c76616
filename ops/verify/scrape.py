"""One reading of the metrics, parsed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from ops.verify.outcome import FailedError

#: Stands before each metric's name.
PREFIX = "shapbox_"


@dataclass(frozen=True, slots=True)
class Scrape:
    """All samples: name and labels → value. Names are given without their prefix."""

    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def of(cls, body: bytes) -> Self:
        """Parse Prometheus's text format. Raises FailedError for anything else."""
        try:
            families = list(text_string_to_metric_families(body.decode()))
        except ValueError as fault:
            raise FailedError(
                f"/metrics cannot be parsed: {fault}.",
                "Prometheus would refuse it, too: see what stands between the appliance and here.",
            ) from fault
        return cls(
            {
                (one.name, frozenset(one.labels.items())): one.value
                for each in families
                for one in each.samples
            }
        )

    def value(self, name: str, **labels: str) -> float | None:
        """Return one sample's value, or None if there is none."""
        return self.samples.get((PREFIX + name, frozenset(labels.items())))

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return a metric's values by one of its labels."""
        return {labels[label]: value for labels, value in self._of(name) if label in labels}

    def labels(self, name: str) -> list[frozenset[str]]:
        """Return the label names of each of a metric's samples."""
        return [frozenset(labels) for labels, _ in self._of(name)]

    def counters(self) -> dict[str, float]:
        """Return all that may never fall, by name and labels."""
        return {
            name.removeprefix(PREFIX) + "".join(f"{{{key}={value}}}" for key, value in sorted(labels)): count
            for (name, labels), count in self.samples.items()
            if name.startswith(PREFIX) and name.endswith(("_total", "_count"))
        }

    def _of(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        for (found, labels), value in self.samples.items():
            if found == PREFIX + name:
                yield dict(labels), value
