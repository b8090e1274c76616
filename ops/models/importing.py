"""Prepares the import of a model: reads the file, settles its contract, checks it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ops.models.contract import settle_contract
from ops.models.folder import removed_versions
from ops.models.margins import Agreement, check_margins, spaced
from ops.models.options import MAX_BACKGROUND_ROWS, MAX_EXAMPLE_ROWS, MAX_EXPECTED_ROWS, ImportOptions
from ops.models.source import Source, read_source
from services.api.rows.readers import read_rows_file
from shared.errors import ModelFaultError
from shared.models.catalog import faults_in
from shared.models.contract import VERSION_PATTERN, Contract
from shared.models.store import ModelDraft, lay_out
from shared.models.version import ModelVersion, read_version, version_folders

#: Notes of an import: the file's name, which may differ between two imports of one model, and its hash.
_SOURCE_NAME, _SOURCE_SHA256 = "added_from", "sha256_of_source"

type _Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PreparedImport:
    """A model that could be added. With `same`, a version that is the same, nothing is to do.

    `background_rows` and `examples_rows` count the rows of the files that samples were taken of.
    """

    options: ImportOptions
    source: Source
    draft: ModelDraft
    same: ModelVersion | None
    background_rows: int = 0
    examples_rows: int = 0
    agreement: Agreement | None = None


def prepare_import(models_dir: Path, options: ImportOptions) -> PreparedImport:
    """Do everything but writing; raises ModelFaultError with the reason and the remedy."""
    for option in ("background", "examples"):
        if getattr(options, f"{option}_rows") is not None and getattr(options, option) is None:
            raise ModelFaultError(
                f"--{option}-rows says how many rows of --{option} to keep. Give --{option} FILE too."
            )
    source = read_source(options.file)
    version = options.version or next_version(models_dir, options.name)
    contract = settle_contract(options, version, source)
    background, background_rows = _sample(
        options.background, contract, options.background_rows or MAX_BACKGROUND_ROWS
    )
    examples, examples_rows = _sample(options.examples, contract, options.examples_rows or MAX_EXAMPLE_ROWS)
    agreement = check_margins(contract, source, *options.check) if options.check else None
    draft = ModelDraft(contract, source.model, background, examples, _expected(agreement))
    same = find_same(models_dir, draft, options.version)
    if same is None:
        _check_free(models_dir, options.name, version)
    return PreparedImport(options, source, draft, same, background_rows, examples_rows, agreement)


def next_version(models_dir: Path, name: str) -> int:
    """Return the version after the highest that exists or was removed; 1 for a new name."""
    folder = models_dir / name
    there = folder.iterdir() if folder.is_dir() else ()
    numbers = [int(path.name) for path in there if VERSION_PATTERN.fullmatch(path.name)]
    return 1 + max([*numbers, removed_versions(models_dir).get(name, 0)])


def find_same_file(models_dir: Path, contract: Contract) -> list[str]:
    """Return the whole versions that the same file was added as, as `NAME@VERSION`."""
    there = whole_versions(models_dir, contract.name)
    digest = contract.training[_SOURCE_SHA256]
    return [one.id for one in there if one.contract.training.get(_SOURCE_SHA256) == digest]


def find_same(models_dir: Path, draft: ModelDraft, version: int | None) -> ModelVersion | None:
    """Return a whole version that is the draft's model; only `version`, if that is given."""
    contract, _ = lay_out(draft, models_dir / draft.contract.name / str(draft.contract.version))
    for there in whole_versions(models_dir, contract.name):
        if version in {None, there.version} and _essence(there.contract) == _essence(contract):
            return there
    return None


def whole_versions(models_dir: Path, name: str) -> list[ModelVersion]:
    """Return a model's versions whose files are not at fault, in order."""
    folders = [one for one in version_folders(models_dir) if one.parent.name == name and not faults_in(one)]
    return sorted(map(read_version, folders), key=lambda one: one.version)


def _check_free(models_dir: Path, name: str, version: int) -> None:
    """Raise ModelFaultError if the version's number means, or meant, another model."""
    folder, what = models_dir / name / str(version), ""
    if folder.exists():
        if not faults_in(folder):
            what = "exists with another content, and a version never changes"
    elif version <= removed_versions(models_dir).get(name, 0):
        what = "was removed, and its number is not used again"
    if what:
        raise ModelFaultError(
            f"{name}@{version} {what}. Leave --version out to add version {next_version(models_dir, name)}."
        )


def _essence(contract: Contract) -> Contract:
    """Leave out the parts that may differ between two imports of one file.

    These are the version, XGBoost's version, and the bytes of the copy.
    """
    training = {key: value for key, value in contract.training.items() if key != _SOURCE_NAME}
    return replace(contract, version=1, sha256="", size=None, library_version="", training=training)


def _sample(path: Path | None, contract: Contract, most: int) -> tuple[_Matrix | None, int]:
    """Read a file of rows; return at most `most` of them, evenly spaced, and their number."""
    if path is None:
        return None, 0
    rows = read_rows_file(path, contract.features, contract.missing)
    return rows[spaced(len(rows), most)], len(rows)


def _expected(agreement: Agreement | None) -> tuple[_Matrix, _Matrix] | None:
    if agreement is None:
        return None
    kept = spaced(len(agreement.rows), MAX_EXPECTED_ROWS)
    return agreement.rows[kept], agreement.margins[kept]
