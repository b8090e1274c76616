"""The catalog of models: found on disk, looked up by name, checked byte by byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import orjson

from shared.errors import ModelFaultError, ModelNotFoundError, ModelRefusedError
from shared.models.activation.records import Activations, State, VersionRecord
from shared.models.contract import MANIFEST_FILE, VERSION_PATTERN, Contract, FileEntry, remedy_for
from shared.models.manifest_reader import read_contract
from shared.models.version import ModelVersion, read_version, version_folders

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["ModelCatalog", "ModelFault", "ModelVersion", "faults_in", "find_faults", "sha256_of"]


@dataclass(frozen=True, slots=True)
class ModelFault:
    """One fault of a model (`NAME@VERSION`, or a folder), and its remedy."""

    model: str
    folder: Path
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.model}: {self.what}. {self.remedy}"


@dataclass(frozen=True, slots=True)
class RefusedModel:
    """A version that is not served. `contract` is None where its manifest cannot be read."""

    id: str
    reason: str
    contract: Contract | None = None
    activation: VersionRecord | None = None

    @property
    def name(self) -> str:
        """The name, without the version."""
        return self.id.rpartition("@")[0]

    @property
    def version(self) -> int | None:
        """The version; None for a folder that is not named as a version is."""
        version = self.id.rpartition("@")[2]
        return int(version) if VERSION_PATTERN.fullmatch(version) else None

    def order(self) -> tuple[str, int, str]:
        """Return what they are sorted by: the name, then the version."""
        return self.name, self.version or 0, self.id


class ModelCatalog:
    """Every version of every model, by name. Immutable: load another one after a change."""

    def __init__(
        self, versions: Mapping[tuple[str, int], ModelVersion], refused: Iterable[RefusedModel] = ()
    ) -> None:
        self._versions = dict(sorted(versions.items()))
        self._latest = {version.name: version for version in self._versions.values()}
        self._refused = {one.id: one for one in sorted(refused, key=RefusedModel.order)}

    @classmethod
    def load(
        cls, models_dir: Path, placeholders_dir: Path | None = None, activations: Activations | None = None
    ) -> Self:
        """Read all manifests under `models_dir`; a placeholder replaces the model of its name.

        Only manifests are read: use `find_faults` to check the files themselves. A version whose manifest cannot be used, or that
        `activations` refuse, is among the refused. Raises ModelFaultError if none is left.
        """
        folders = {
            (folder.parent.name, folder.name): folder
            for root in (models_dir, placeholders_dir)
            if root is not None
            for folder in version_folders(root)
        }
        if not folders:
            raise ModelFaultError(str(_no_models(models_dir)))
        found = [
            _activated(
                folder, activations or Activations(), placeholder=folder.parent.parent == placeholders_dir
            )
            for folder in folders.values()
        ]
        refused = [one for one in found if isinstance(one, RefusedModel)]
        versions = {(one.name, one.version): one for one in found if isinstance(one, ModelVersion)}
        if not versions:
            raise ModelFaultError("\n".join(f"{one.id}: {one.reason}" for one in refused))
        return cls(versions, refused)

    def get(self, wanted: str) -> ModelVersion:
        """Find a model by `NAME` (its highest version that is ready) or `NAME@VERSION`.

        Raises ModelNotFoundError, which lists the models there are, and ModelRefusedError with the reason.
        """
        name, at, version = wanted.partition("@")
        found = self._latest.get(name)
        if at:
            number = int(version) if VERSION_PATTERN.fullmatch(version) else 0
            found = self._versions.get((name, number))
        if found is None:
            refused = self.find_refused(wanted)
            if refused is not None:
                raise ModelRefusedError(f"Model {refused.id} is refused: {refused.reason}")
            there_are = ", ".join(version.id for version in self.versions())
            raise ModelNotFoundError(
                f"There is no model {wanted[:80]!r}. Use one of: {there_are or 'none yet'}."
            )
        return found

    def find_refused(self, wanted: str) -> RefusedModel | None:
        """Return a refused version by NAME@VERSION, or the highest of a NAME without others."""
        if wanted in self._latest:
            return None
        return next((one for one in reversed(self._refused.values()) if wanted in {one.id, one.name}), None)

    def versions(self) -> tuple[ModelVersion, ...]:
        """All versions of all models that are served, by name and then by version."""
        return tuple(self._versions.values())

    def refused(self) -> tuple[RefusedModel, ...]:
        """All versions that are not served, by name and then by version."""
        return tuple(self._refused.values())

    def latest(self) -> tuple[ModelVersion, ...]:
        """Take the highest version of each model, by name."""
        return tuple(self._latest.values())

    def __len__(self) -> int:
        return len(self._versions)


def with_record(version: ModelVersion, record: VersionRecord | None) -> ModelVersion:
    """Return a version with its activation record, and the contract that activation completed.

    Raises ModelFaultError if that contract cannot be used.
    """
    if record is None:
        return version
    contract = version.contract
    if record.contract is not None:
        contract = read_contract(orjson.dumps(dict(record.contract)), version.folder / MANIFEST_FILE)
    return ModelVersion(contract, version.folder, record)


def manifest_digest(folder: Path) -> str:
    """Return the SHA-256 of a manifest, which holds those of its files. Raises OSError."""
    return sha256_of(folder / MANIFEST_FILE)


def _activated(folder: Path, activations: Activations, *, placeholder: bool) -> ModelVersion | RefusedModel:
    name = f"{folder.parent.name}@{folder.name}"
    # The record of a placeholder's name is that of the model that it replaces.
    record = None if placeholder else activations.versions.get(name)
    try:
        version = read_version(folder)
        if record is not None and record.manifest not in {"", manifest_digest(folder)}:
            record = None  # of other files, which had this name before
        version = with_record(version, record)
    except (ModelFaultError, OSError) as fault:
        return RefusedModel(name, str(fault))
    if record is not None and record.state is State.REFUSED:
        return RefusedModel(name, record.reason or "the reason is not known", version.contract, record)
    return version


def find_faults(models_dir: Path) -> list[ModelFault]:
    """Check every model's files against its manifest.

    Reads every byte of every model, and does not load any: the worker's `model_inspection` does that.
    """
    folders = list(version_folders(models_dir))
    return (
        [fault for folder in folders for fault in faults_in(folder)] if folders else [_no_models(models_dir)]
    )


def faults_in(folder: Path) -> list[ModelFault]:
    """Check one model's files in `…/NAME/VERSION` against its manifest; return their faults."""
    try:
        version = read_version(folder)
    except ModelFaultError as error:
        remedy = remedy_for(folder)
        what = str(error).removesuffix(f". {remedy}")
        return [ModelFault(f"{folder.parent.name}@{folder.name}", folder, what, remedy)]
    contract = version.contract
    features, outputs = len(contract.features), len(contract.outputs)
    matrices = [(contract.background, features), (contract.examples, features)]
    if contract.expected is not None:
        matrices += [(contract.expected.rows, features), (contract.expected.margins, outputs)]
    found = [_fault_of_file(version.model_path, contract.sha256, contract.size)]
    found += [_fault_of_matrix(folder / entry.file, entry, columns) for entry, columns in matrices if entry]
    return [ModelFault(version.id, folder, what, remedy_for(folder)) for what in found if what]


def sha256_of(path: Path) -> str:
    """Hash a file's bytes, reading it in pieces; raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _no_models(models_dir: Path) -> ModelFault:
    return ModelFault(
        model=str(models_dir),
        folder=models_dir,
        what=f"there is no model in {models_dir}"
        if models_dir.is_dir()
        else f"there is no folder {models_dir}",
        remedy="Restore it from version control, point MODELS_DIR at your models, or add one with "
        "`python -m ops.models add NAME FILE`.",
    )


def _fault_of_file(path: Path, sha256: str, size: int | None = None) -> str | None:
    """Say what is wrong with a file, or None."""
    try:
        actual = path.stat().st_size
        if actual == 0:
            return f"{path.name} is empty"
        if size is not None and actual < size:
            return f"{path.name} is truncated: {actual} bytes of {size}"
        if sha256_of(path) != sha256:
            return f"{path.name} was altered or truncated: its SHA-256 is not the manifest's"
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"
    return None


def _fault_of_matrix(path: Path, entry: FileEntry, columns: int) -> str | None:
    """Say what is wrong with a float32 matrix, or None."""
    import numpy as np  # noqa: PLC0415  # 6 MB, which the monitor need not pay: it reads manifests only

    fault = _fault_of_file(path, entry.sha256)
    if fault is not None:
        return fault
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # noqa: BLE001  # NumPy parses the header as Python, and fails in many ways
        return f"{path.name} is no .npy matrix ({type(error).__name__}: {error})"
    if not isinstance(matrix, np.ndarray):
        return f"{path.name} is an archive of several arrays (.npz), not one .npy matrix"
    if matrix.dtype != np.float32 or matrix.shape != (entry.rows, columns):
        return f"{path.name} is {matrix.dtype} {matrix.shape}, not float32 {(entry.rows, columns)}"
    return None
