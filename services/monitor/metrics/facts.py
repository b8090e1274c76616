"""What does not change while the monitor runs: the build and the models."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from services.monitor.metrics.families import family
from shared import metrics
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
        self._families = [family(metrics.BUILD_INFO, {build: 1.0}), *_model_families(tuple(models), refused)]
        if started is not None:
            self._families.append(family(metrics.START_TIME, started))

    def collect(self) -> Iterator[Family]:
        """Yield the families."""
        return iter(self._families)


def _model_families(served: Sequence[ModelVersion], refused: Iterable[RefusedModel]) -> Iterator[Family]:
    """Yield what is known of each model's version."""
    infos = {
        (*_version(m), _engine(m, ExplanationKind.TREE_PATH_DEPENDENT), str(m.fallback).lower()): 1.0
        for m in served
    }
    yield family(metrics.MODEL_INFO, infos)
    engines = {
        (*_version(m), wanted.value, engine): 1.0
        for m in served
        for wanted in ExplanationKind
        if (engine := _engine(m, wanted))
    }
    yield family(metrics.MODEL_ENGINE_INFO, engines)
    states = {**{_version(m): 0.0 for m in served}, **{_version(one): 1.0 for one in refused}}
    yield family(metrics.MODEL_REFUSED, states)


def _version(model: ModelVersion | RefusedModel) -> tuple[str, str]:
    return model.name, str(model.version)


def _engine(version: ModelVersion, wanted: ExplanationKind) -> str:
    return version.method_record(wanted).engine or ""
