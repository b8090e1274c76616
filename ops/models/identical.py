"""Finds a version that is the same model: same source file, same contract, same rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import ModelFaultError
from shared.models.catalog import faults_in
from shared.models.contract import FORMAT, Contract
from shared.models.store import ModelDraft
from shared.models.version import ModelVersion, read_version, version_folders

#: Notes of an import that may differ between two imports of one model.
_SOURCE_NAME = "added_from"
#: The import's note of the SHA-256 of the file as given.
_SOURCE_SHA256 = "sha256_of_source"


def find_same(models_dir: Path, draft: ModelDraft, version: int | None) -> ModelVersion | None:
    """Return a whole version that is the draft's model; only `version`, if that is given."""
    folder = models_dir / draft.contract.name
    if not folder.is_dir():
        return None
    named = [folder / str(version)] if version else sorted(folder.iterdir())
    for one in named:
        if (
            one.is_dir()
            and not one.name.startswith((".", "_"))
            and not faults_in(one)
            and _is_same(one, draft)
        ):
            return read_version(one)
    return None


def find_same_file(models_dir: Path, draft: ModelDraft) -> list[str]:
    """Return the whole versions that the same file was added as, as `NAME@VERSION`."""
    found: list[ModelVersion] = []
    for folder in version_folders(models_dir):
        if folder.parent.name != draft.contract.name or faults_in(folder):
            continue
        version = read_version(folder)
        if version.contract.training.get(_SOURCE_SHA256) == draft.contract.training[_SOURCE_SHA256]:
            found.append(version)
    return [version.id for version in sorted(found, key=lambda one: one.version)]


def _is_same(folder: Path, draft: ModelDraft) -> bool:
    try:
        there = read_version(folder)
    except ModelFaultError:
        return False
    expected = there.contract.expected
    files = [entry.file if entry else None for entry in (there.contract.background, there.contract.examples)]
    files += [expected.rows.file, expected.margins.file] if expected else [None, None]
    wanted: list[Any] = [draft.background, draft.examples, *(draft.expected or (None, None))]
    return _essence(there.contract) == _essence(draft.contract) and all(
        _same_matrix(folder / file if file else None, matrix)
        for file, matrix in zip(files, wanted, strict=True)
    )


def _essence(contract: Contract) -> Contract:
    """Leave out the parts of a contract that the import fills in: version, XGBoost, hashes."""
    training = {key: value for key, value in contract.training.items() if key != _SOURCE_NAME}
    bare = replace(contract, version=1, sha256="", size=None, library_version="", training=training)
    return replace(bare, background=None, examples=None, expected=None, format=min(contract.format, FORMAT))


def _same_matrix(path: Path | None, matrix: Any) -> bool:
    if path is None or matrix is None:
        return path is None and matrix is None
    return np.array_equal(np.load(path, allow_pickle=False), matrix, equal_nan=True)
