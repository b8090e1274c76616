"""What does not change while the monitor runs: the build and the models."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.monitor.metrics.families import gauge, gauges
from shared.build import VERSION, library_versions
from shared.models.activation.records import ExplanationKind
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
        labels = ["version", "commit", "python", "xgboost"]
        self._families = [gauges("build_info", "What runs here; always 1.", labels, {build: 1.0})]
        self._families += _model_families(tuple(models), refused)
        if started is not None:
            text = "When supervisord was started, in seconds since the epoch."
            self._families.append(gauge("start_time_seconds", text, started))

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        return iter(self._families)


def _model_families(served: Sequence[ModelVersion], refused: Iterable[RefusedModel]) -> Iterator[Metric]:
    """Yield what is known of each model's version."""
    yield gauges(
        "model_info",
        "A model that is served; always 1.",
        ["model", "version", "engine", "fallback"],
        {
            (*_version(m), _engine(m, ExplanationKind.TREE_PATH_DEPENDENT), str(m.fallback).lower()): 1.0
            for m in served
        },
    )
    yield gauges(
        "model_engine_info",
        "A model's engine for a method; always 1.",
        ["model", "version", "method", "engine"],
        {
            (*_version(m), wanted.value, engine): 1.0
            for m in served
            for wanted in ExplanationKind
            if (engine := _engine(m, wanted))
        },
    )
    yield gauges(
        "model_refused",
        "1 for a version that is not served, since its activation refused it; else 0.",
        ["model", "version"],
        {**{_version(m): 0.0 for m in served}, **{_version(one): 1.0 for one in refused}},
    )


def _version(model: ModelVersion | RefusedModel) -> tuple[str, str]:
    return model.name, str(model.version)


def _engine(version: ModelVersion, wanted: ExplanationKind) -> str:
    return version.method_record(wanted).engine or ""
