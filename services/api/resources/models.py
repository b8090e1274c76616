"""/v1/models: the models that rows can be explained with, and those that are refused."""

from __future__ import annotations

from typing import Any

from services.api.http.authentication import Access
from services.api.http.query import Query
from shared.jobs.document import Method
from shared.models.activation.records import State, VersionRecord
from shared.models.catalog import ModelCatalog, ModelVersion, RefusedModel
from shared.models.contract import Contract


class ModelsResource:
    """All versions of all models."""

    access = Access.JOBS

    def __init__(self, catalog: ModelCatalog) -> None:
        self._catalog = catalog

    def on_get(self, req: Any, resp: Any) -> None:
        """List the models, by name and then by version."""
        Query(req)
        resp.media = {"models": _all_documents(self._catalog)}

    on_head = on_get


class ModelResource:
    """One model. NAME is its highest ready version, NAME@VERSION any one, refused or not."""

    access = Access.JOBS

    def __init__(self, catalog: ModelCatalog) -> None:
        self._catalog = catalog

    def on_get(self, req: Any, resp: Any, name: str) -> None:
        """Answer with the model's document."""
        Query(req)
        catalog = self._catalog
        refused = catalog.find_refused(name)
        document = _refused_document(refused) if refused else _ready_document(catalog.get(name))
        resp.media = document

    on_head = on_get


def _all_documents(catalog: ModelCatalog) -> list[dict[str, Any]]:
    documents = [_ready_document(version) for version in catalog.versions()]
    documents += [_refused_document(one) for one in catalog.refused()]
    return sorted(documents, key=lambda one: (one["name"], one["version"] or 0))


def _ready_document(version: ModelVersion) -> dict[str, Any]:
    engines = {method.value: version.method_record(method).engine for method in Method}
    document = _document(version.name, version.version, version.contract, engines, version.activation)
    return {**document, "state": State.READY.value, "reason": None}


def _refused_document(refused: RefusedModel) -> dict[str, Any]:
    engines = dict.fromkeys(method.value for method in Method)
    document = _document(refused.name, refused.version, refused.contract, engines, refused.activation)
    return {**document, "state": State.REFUSED.value, "reason": refused.reason}


def _document(
    name: str,
    version: int | None,
    contract: Contract | None,
    engines: dict[str, str | None],
    activation: VersionRecord | None,
) -> dict[str, Any]:
    """Return the document of a version; null for the facts that need a contract."""
    return {
        "name": name,
        "version": version,
        "features": contract and list(contract.feature_names),
        "outputs": contract and list(contract.outputs),
        "objective": contract and contract.objective,
        "sha256": contract and contract.sha256,
        "engine": engines[Method.TREE_PATH_DEPENDENT],
        "engines": engines,
        "fallback": contract is not None and contract.fallback,
        "contract": contract and contract.document(),
        "activation": activation and activation.document(),
    }
