"""/v1/models and /v1/models/NAME/examples: models, and rows to try them with."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.api.http.authentication import Access
from services.api.http.query import Query
from services.api.resources.resource import Resource
from services.api.results.negotiation import acceptable
from shared.csv_cells import harmless_names
from shared.errors import ModelFaultError, NotFoundError
from shared.jobs.document import Method
from shared.models.activation.records import State
from shared.models.catalog import RefusedModel
from shared.models.contract import Feature
from shared.models.labelled_rows import Cell, labelled_rows
from shared.models.version import ModelVersion

#: Rows by default and at most, and the numbers that one answer holds at most: it is made whole.
EXAMPLES, MAX_EXAMPLES, MAX_NUMBERS = 100, 10_000, 131_072
CSV, JSON = "text/csv", "application/json"
#: Texts that the reader of CSV takes for a missing value: the first one that is no label is written.
MISSING_TEXTS = ("", "NA", "N/A", "nan", "null", "None", "<NA>", "#N/A")


class ModelsResource(Resource, access=Access.JOBS):
    """All versions of all models."""

    def on_get(self, req: Any, resp: Any) -> None:
        """List the models, by name and then by version."""
        Query(req)
        catalog = self._components.catalog
        models = [*map(_document, catalog.versions()), *map(_document, catalog.refused())]
        resp.media = {"models": sorted(models, key=lambda one: (one["name"], one["version"] or 0))}


class ModelResource(Resource, access=Access.JOBS):
    """One model. NAME is its highest ready version, NAME@VERSION any one, refused or not."""

    def on_get(self, req: Any, resp: Any, name: str) -> None:
        """Answer with the model's document."""
        Query(req)
        catalog = self._components.catalog
        resp.media = _document(catalog.find_refused(name) or catalog.get(name))


class NoExamplesError(NotFoundError, title="No example rows"):
    """The model was added without example rows."""


class ExamplesResource(Resource, access=Access.JOBS):
    """The first example rows of a model, as a body that could be sent to /v1/jobs."""

    def on_get(self, req: Any, resp: Any, name: str) -> None:
        """Answer with CSV or, if requested, JSON."""
        query = Query(req, "limit", "csv_safe")
        limit = query.whole("limit", EXAMPLES, 1, MAX_EXAMPLES)
        safe = query.flag("csv_safe") is not False
        version = self._components.catalog.get(name)
        media_type = acceptable(req.get_header("Accept"), (CSV, JSON), "Example rows")[0]
        rows = _read_rows(version, limit)
        resp.content_type = media_type
        resp.set_header("Vary", "Accept")
        features = version.contract.features
        cells = labelled_rows(features, rows)
        if media_type == CSV:
            resp.data = _as_csv(features, cells, safe=safe)
        else:
            resp.media = {"model": version.id, "rows": cells}


def _document(model: ModelVersion | RefusedModel) -> dict[str, Any]:
    """Return the document of a version; null for the facts that need a contract."""
    refused = model if isinstance(model, RefusedModel) else None
    ready = model if isinstance(model, ModelVersion) else None
    engines = {method.value: ready.method_record(method).engine if ready else None for method in Method}
    contract, activation = model.contract, model.activation
    return {
        "name": model.name,
        "version": model.version,
        "features": contract and list(contract.feature_names),
        "outputs": contract and list(contract.outputs),
        "objective": contract and contract.objective,
        "sha256": contract and contract.sha256,
        "engine": engines[Method.TREE_PATH_DEPENDENT],
        "engines": engines,
        "fallback": contract is not None and contract.fallback,
        "contract": contract and contract.document(),
        "activation": activation and activation.document(),
        "state": State.REFUSED if refused else State.READY,
        "reason": refused and refused.reason,
    }


def _read_rows(version: ModelVersion, limit: int) -> NDArray[np.float32]:
    """Return the first rows, and read no others."""
    if version.examples_path is None:
        raise NoExamplesError(
            f"Model {version.id} was added without example rows. Add them with `python -m ops.models add --examples`."
        )
    most = max(1, MAX_NUMBERS // len(version.features))
    try:
        matrix = np.load(version.examples_path, mmap_mode="r", allow_pickle=False)
        return np.array(matrix[: min(limit, most)], dtype=np.float32)
    except (OSError, ValueError) as fault:
        raise ModelFaultError(f"Cannot read the example rows of {version.id}: {fault}") from fault


def _as_csv(features: tuple[Feature, ...], rows: list[list[Cell]], *, safe: bool) -> bytes:
    """Write rows so that the reader of CSV reads the same.

    `safe` names and labels are no formulas in spreadsheets.
    """
    names = harmless_names(feature.name for feature in features)
    labels = [harmless_names(label for label in one.labels if isinstance(label, str)) for one in features]
    missing = [
        next((text for text in MISSING_TEXTS if text not in feature.labels), "") for feature in features
    ]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([names[feature.name] if safe else feature.name for feature in features])
    for row in rows:
        cells = [none if cell is None else cell for cell, none in zip(row, missing, strict=True)]
        if safe:
            cells = [
                known.get(cell, cell) if isinstance(cell, str) else cell
                for cell, known in zip(cells, labels, strict=True)
            ]
        writer.writerow(cells)
    return text.getvalue().encode()
