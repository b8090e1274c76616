"""The models there are: found on disk by their manifests, looked up by name, and checked byte by byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from shared.errors import ModelFaultError, ModelNotFoundError
from shared.manifest import VERSION_PATTERN, FileEntry, remedy_for
from shared.model_version import ModelVersion, read_version, version_folders

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ModelCatalog", "ModelFault", "ModelVersion", "faults_in", "find_faults", "sha256_of"]


@dataclass(frozen=True, slots=True)
class ModelFault:
    """One thing that is wrong with a model: which (`NAME@VERSION`, or a folder), where, what, and what to do."""

    model: str
    folder: Path
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.model}: {self.what}. {self.remedy}"


class ModelCatalog:
    """Every version of every model, by name. It never changes: load another one after models were added."""

    def __init__(self, versions: Mapping[tuple[str, int], ModelVersion]) -> None:
        self._versions = dict(sorted(versions.items()))
        self._latest = {version.name: version for version in self._versions.values()}

    @classmethod
    def load(cls, models_dir: Path, standins_dir: Path | None = None) -> Self:
        """Read all manifests under `models_dir`; a stand-in takes the place of the model it stands in for.

        Only manifests are read: use `find_faults` to check the files themselves. Raises ModelFaultError if a
        manifest that no stand-in replaces cannot be used, and if there is no model at all.
        """
        folders = {
            (folder.parent.name, folder.name): folder
            for root in (models_dir, standins_dir)
            if root is not None
            for folder in version_folders(root)
        }
        versions = [read_version(folder) for folder in folders.values()]
        if not versions:
            raise ModelFaultError(str(_no_models(models_dir)))
        return cls({(version.name, version.version): version for version in versions})

    def get(self, wanted: str) -> ModelVersion:
        """Find a model by `NAME` (its highest version) or `NAME@VERSION`.

        Raises ModelNotFoundError, which lists the models there are.
        """
        name, at, version = wanted.partition("@")
        found = self._latest.get(name)
        if at:
            number = int(version) if VERSION_PATTERN.fullmatch(version) else 0
            found = self._versions.get((name, number))
        if found is None:
            there_are = ", ".join(version.id for version in self.versions())
            raise ModelNotFoundError(
                f"There is no model {wanted[:80]!r}. Use one of: {there_are or 'none yet'}."
            )
        return found

    def versions(self) -> tuple[ModelVersion, ...]:
        """All versions of all models, by name and then by version."""
        return tuple(self._versions.values())

    def latest(self) -> tuple[ModelVersion, ...]:
        """Take the highest version of each model, by name."""
        return tuple(self._latest.values())

    def __len__(self) -> int:
        return len(self._versions)


def find_faults(models_dir: Path) -> list[ModelFault]:
    """Check every model's files against its manifest: missing, empty, truncated, altered, or no model at all.

    Reads every byte of every model, and does not load any: the worker's `model_inspection` does that.
    """
    folders = list(version_folders(models_dir))
    return (
        [fault for folder in folders for fault in faults_in(folder)] if folders else [_no_models(models_dir)]
    )


def faults_in(folder: Path) -> list[ModelFault]:
    """Check one model's files in `…/NAME/VERSION` against its manifest; an empty list if all is well."""
    try:
        version = read_version(folder)
    except ModelFaultError as error:
        remedy = remedy_for(folder)
        what = str(error).removesuffix(f". {remedy}")
        return [ModelFault(f"{folder.parent.name}@{folder.name}", folder, what, remedy)]
    manifest = version.manifest
    found = [_fault_of_file(version.model_path, manifest.sha256, manifest.size)]
    found += [
        _fault_of_matrix(folder / entry.file, entry, len(manifest.features))
        for entry in (manifest.background, manifest.examples)
        if entry is not None
    ]
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


def _fault_of_matrix(path: Path, entry: FileEntry, features: int) -> str | None:
    """Say what is wrong with a float32 matrix, or None."""
    import numpy as np  # noqa: PLC0415  # 6 MB, which the monitor need not pay: it reads manifests only

    fault = _fault_of_file(path, entry.sha256)
    if fault is not None:
        return fault
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        return f"{path.name} is no .npy matrix ({error})"
    if matrix.dtype != np.float32 or matrix.shape != (entry.rows, features):
        return f"{path.name} is {matrix.dtype} {matrix.shape}, not float32 {(entry.rows, features)}"
    return None
