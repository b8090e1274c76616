"""The models that the appliance serves, and the copies of them that lie here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ops.verify.outcome import FailedError
from shared.errors import ShapboxError
from shared.models.catalog import ModelCatalog, faults_in
from shared.models.contract import Feature, Kind, Trees, TreesReason
from shared.models.version import ModelVersion


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model, as /v1/models tells of it."""

    id: str
    columns: tuple[Feature, ...]
    outputs: tuple[str, ...]
    sha256: str
    fallback: bool
    #: The boosting rounds that count; None where an earlier version of Shapbox does not tell.
    trees: Trees | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The features' names."""
        return tuple(column.name for column in self.columns)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """Read one entry of /v1/models. Raises FailedError for anything else."""
        try:
            return cls(
                id=f"{document['name']}@{document['version']}",
                columns=_columns(document),
                outputs=tuple(document["outputs"]),
                sha256=str(document["sha256"]),
                fallback=bool(document["fallback"]),
                trees=_trees(document),
            )
        except (KeyError, TypeError, ValueError) as fault:
            raise FailedError(
                f"/v1/models tells of a model without {fault}.", "See which version runs there: /version."
            ) from fault


def _columns(document: dict[str, Any]) -> tuple[Feature, ...]:
    """Return the columns; of an appliance without contracts all are numbers."""
    if not document.get("contract"):
        return tuple(map(Feature, document["features"]))
    return tuple(
        Feature(one["name"], Kind(one["kind"]), tuple(one.get("labels", ())))
        for one in document["contract"]["features"]
    )


def _trees(document: dict[str, Any]) -> Trees | None:
    trees = (document.get("contract") or {}).get("trees")
    return trees and Trees(trees["used"], trees["total"], TreesReason(trees["reason"]))


class LocalModels:
    """The models in a folder here; none if there is no such folder or its manifests are broken."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        try:
            self._versions = ModelCatalog.load(folder).versions() if folder else ()
        except ShapboxError:  # what is served is in question, not what lies here
            self._versions = ()

    def twin(self, model: ServedModel) -> ModelVersion | None:
        """Return the copy whose file is the served one, byte by byte."""
        for version in self._versions:
            same = (version.contract.sha256, version.features) == (model.sha256, model.features)
            if same and len(version.outputs) == len(model.outputs) and not faults_in(version.folder):
                return version
        return None

    def namesake(self, model: ServedModel) -> ModelVersion | None:
        """Return the copy of the same name, version and shape, even if its file differs."""
        for version in self._versions:
            same = (version.id, version.features) == (model.id, model.features)
            if same and len(version.outputs) == len(model.outputs) and not faults_in(version.folder):
                return version
        return None
