"""/v1/models: the models that rows can be explained with."""

from __future__ import annotations

from typing import Any

import orjson

from services.api.authentication import Access
from services.api.parts import Parts
from services.api.query import Query
from shared.engine_record import EngineRecord
from shared.jobs.document import Method
from shared.models.catalog import ModelVersion


class ModelsResource:
    """All versions of all models."""

    access = Access.JOBS

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def on_get(self, req: Any, resp: Any) -> None:
        """List the models."""
        Query(req)
        models = [model_document(version, self._parts.engines) for version in self._parts.catalog.versions()]
        resp.content_type = "application/json"
        resp.data = orjson.dumps({"models": models})

    on_head = on_get


class ModelResource:
    """One model: NAME is its highest version, NAME@VERSION that one."""

    access = Access.JOBS

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def on_get(self, req: Any, resp: Any, name: str) -> None:
        """Answer with the model's document."""
        Query(req)
        resp.content_type = "application/json"
        resp.data = orjson.dumps(model_document(self._parts.catalog.get(name), self._parts.engines))

    on_head = on_get


def model_document(version: ModelVersion, engines: EngineRecord) -> dict[str, Any]:
    """Return what a client needs to know of a model."""
    return {
        "name": version.name,
        "version": version.version,
        "features": list(version.features),
        "outputs": list(version.outputs),
        "objective": version.contract.objective,
        "sha256": version.contract.sha256,
        "engine": engines.of(version.id),
        "engines": {
            method.value: engines.of(version.id, method) if method in version.methods else None
            for method in Method
        },
        "fallback": version.fallback,
    }
