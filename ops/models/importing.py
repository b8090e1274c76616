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
    background_rows: int
    examples_rows: int
    agreement: Agreement | None


def prepare_import(models_dir: Path, options: ImportOptions) -> PreparedImport:
    """Do everything but writing; raises ModelFaultError with the reason and the remedy."""
    source = read_source(options.file)
    version = options.version or _next_version(models_dir, options.name)
    contract = settle_contract(options, version, source)
    most = options.background_rows or MAX_BACKGROUND_ROWS
    background, background_rows = _sample(options.background, contract, most)
    examples, examples_rows = _sample(options.examples, contract, MAX_EXAMPLE_ROWS)
    agreement = check_margins(contract, source, *options.check) if options.check else None
    draft = ModelDraft(contract, source.model, background, examples, _expected(agreement))
    same = _find_same(models_dir, draft, options.version)
    if same is None:
        _check_free(models_dir, options.name, version)
    return PreparedImport(options, source, draft, same, background_rows, examples_rows, agreement)


def _next_version(models_dir: Path, name: str) -> int:
    """Return the version after the highest that exists or was removed; 1 for a new name."""
    folder = models_dir / name
    there = folder.iterdir() if folder.is_dir() else ()
    numbers = [int(path.name) for path in there if VERSION_PATTERN.fullmatch(path.name)]
    return 1 + max([*numbers, removed_versions(models_dir).get(name, 0)])


def _find_same(models_dir: Path, draft: ModelDraft, version: int | None) -> ModelVersion | None:
    """Return a whole version that is the draft's model; only `version`, if that is given."""
    contract, _ = lay_out(draft, models_dir / draft.contract.name / str(draft.contract.version))
    named = (one for one in version_folders(models_dir) if one.parent.name == contract.name)
    whole = sorted((read_version(one) for one in named if not faults_in(one)), key=lambda one: one.version)
    same = (one for one in whole if _essence(one.contract) == _essence(contract))
    return next((one for one in same if version in {None, one.version}), None)


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
            f"{name}@{version} {what}. Leave --version out to add version {_next_version(models_dir, name)}."
        )


def _essence(contract: Contract) -> Contract:
    """Leave out the parts that may differ between two imports of one file.

    These are the version, XGBoost's version, the file's name, and the bytes of the copy.
    """
    training = {key: value for key, value in contract.training.items() if key != "added_from"}
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
