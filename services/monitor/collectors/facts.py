"""What does not change while the monitor runs: the build and the models."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.monitor.collectors.families import gauge, gauges
from shared.build import VERSION, library_versions
from shared.models.activation import Explanation
from shared.models.catalog import RefusedModel
from shared.models.version import ModelVersion


class FactsCollector(Collector):
    """Builds its families once. `started` is when the appliance was, in seconds since the epoch."""

    def __init__(
        self,
        models: Iterable[ModelVersion],
        refused: Iterable[RefusedModel],
        commit: str,
        started: float | None,
    ) -> None:
        build = (VERSION, commit, platform.python_version(), library_versions()["xgboost"])
        served = tuple(models)
        lines: dict[tuple[str, ...], float] = {
            (
                m.name,
                str(m.version),
                _engine(m, Explanation.TREE_PATH_DEPENDENT),
                str(m.fallback).lower(),
            ): 1.0
            for m in served
        }
        by_method: dict[tuple[str, ...], float] = {
            (m.name, str(m.version), wanted.value, engine): 1.0
            for m in served
            for wanted in Explanation
            if (engine := _engine(m, wanted))
        }
        self._families = [
            gauges(
                "build_info",
                "What runs here; always 1.",
                ["version", "commit", "python", "xgboost"],
                {build: 1.0},
            ),
            gauges(
                "model_info",
                "A model that is served; always 1.",
                ["model", "version", "engine", "fallback"],
                lines,
            ),
            gauges(
                "model_engine_info",
                "A model's engine for a method; always 1.",
                ["model", "version", "method", "engine"],
                by_method,
            ),
        ]
        refusals: dict[tuple[str, ...], float] = {(m.name, str(m.version)): 0.0 for m in served}
        refusals |= {(name, version): 1.0 for name, _, version in (one.id.partition("@") for one in refused)}
        self._families.append(
            gauges(
                "model_refused",
                "1 for a version that is not served, since its activation refused it; else 0.",
                ["model", "version"],
                refusals,
            )
        )
        if started is not None:
            self._families.append(
                gauge(
                    "start_time_seconds", "When supervisord was started, in seconds since the epoch.", started
                )
            )

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        return iter(self._families)


def _engine(version: ModelVersion, wanted: Explanation) -> str:
    return version.method_record(wanted).engine or ""
