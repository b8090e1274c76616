"""One version of a model on disk: a folder `NAME/VERSION`.

Only such folders count. Those whose names begin with `.` or `_` are somebody else's (half-added models,
caches), and plain files beside the models (the training script) are no models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import ModelFaultError
from shared.jobs.document import Method
from shared.models.activation.records import SHAP, XGBOOST, ExplanationKind, MethodRecord, VersionRecord
from shared.models.contract import MANIFEST_FILE, MODEL_FILE, Contract, is_model_folder, remedy_for
from shared.models.manifest_reader import read_contract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


#: Why a model has no interventional values.
_NO_BACKGROUND = (
    "it was added without background rows, which these values are measured against "
    "(`python -m ops.models add` takes --background)"
)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of a model: its contract, folder, and activation record.

    `activation` is None where none has been recorded: XGBoost and shap then explain it.
    """

    contract: Contract
    folder: Path
    activation: VersionRecord | None = None

    @property
    def id(self) -> str:
        """The full name, `NAME@VERSION`."""
        return self.contract.id

    @property
    def name(self) -> str:
        """The name, without the version."""
        return self.contract.name

    @property
    def version(self) -> int:
        """The version, from 1."""
        return self.contract.version

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns that the model takes, in its order."""
        return self.contract.feature_names

    @property
    def outputs(self) -> tuple[str, ...]:
        """One name for each margin that the model gives."""
        return self.contract.outputs

    @property
    def fallback(self) -> bool:
        """Whether this is a placeholder for a model that could not be used."""
        return self.contract.fallback

    @property
    def model_path(self) -> Path:
        """The model itself, in XGBoost's UBJSON."""
        return self.folder / MODEL_FILE

    @property
    def background_path(self) -> Path | None:
        """The background rows (`.npy`, float32, rows x features), if the model has any."""
        entry = self.contract.background
        return self.folder / entry.file if entry else None

    @property
    def examples_path(self) -> Path | None:
        """Rows to try the model with (`.npy`, float32, rows x features), if it has any."""
        entry = self.contract.examples
        return self.folder / entry.file if entry else None

    def tables_key(self, method: Method) -> str | None:
        """Return the key of a method's tables, their sources' digests; None without background."""
        contract = self.contract
        model = contract.sha256
        if contract.trees is not None and contract.trees.used < contract.trees.total:
            model = f"{model}-{contract.trees.used}"
        if method is Method.TREE_PATH_DEPENDENT:
            return model
        return f"{model}-{contract.background.sha256}" if contract.background else None

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods that the model can be explained by."""
        return tuple(method for method in Method if self.method_record(method).engine is not None)

    def method_record(self, wanted: Method | ExplanationKind) -> MethodRecord:
        """Return which engine explains a method or interactions, or why none does."""
        explanation = ExplanationKind(wanted.value)
        if explanation is ExplanationKind.INTERVENTIONAL and self.contract.background is None:
            return MethodRecord(None, _NO_BACKGROUND)
        if self.activation is not None and explanation in self.activation.methods:
            return self.activation.methods[explanation]
        return MethodRecord(SHAP if explanation is ExplanationKind.INTERVENTIONAL else XGBOOST)


def read_version(folder: Path) -> ModelVersion:
    """Read the manifest in `…/NAME/VERSION`. Raises ModelFaultError if it is wrong."""
    source = folder / MANIFEST_FILE
    if not is_model_folder(folder):
        raise ModelFaultError(f"{folder} is not named as a model's folder is. {remedy_for(folder)}")
    try:
        manifest = read_contract(source.read_bytes(), source)
    except OSError as error:
        raise ModelFaultError(f"{source} cannot be read: {error.strerror}. {remedy_for(folder)}") from error
    if (manifest.name, str(manifest.version)) != (folder.parent.name, folder.name):
        raise ModelFaultError(
            f"{source} says it is {manifest.id}, which is not where it lies. {remedy_for(folder)}"
        )
    return ModelVersion(manifest, folder)


#: The folder that file systems keep for themselves at the top of a disk, where no model can be.
LOST_AND_FOUND = "lost+found"


def version_folders(root: Path) -> Iterator[Path]:
    """Every folder NAME/VERSION under `root`, sorted; none if there is no such folder."""
    for name in _folders_in(root):
        versions = _folders_in(name)
        # A model's folder without any version is a fault to be named, not to be passed over.
        yield from versions or [name / "1"]


def _folders_in(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    folders = (path for path in root.iterdir() if path.is_dir())
    return sorted(
        path for path in folders if path.name != LOST_AND_FOUND and not path.name.startswith((".", "_"))
    )
