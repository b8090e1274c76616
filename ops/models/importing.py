"""Imports a model: reads the file, settles its contract, checks it, writes its version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ops.models.contract_file import completed
from ops.models.identical import find_same
from ops.models.labels import with_labels
from ops.models.margin_check import Agreement, check_margins
from ops.models.matrices import read_sample, spaced
from ops.models.options import MAX_BACKGROUND_ROWS, MAX_EXAMPLE_ROWS, MAX_EXPECTED_ROWS, ImportOptions
from ops.models.removal import removed_versions
from ops.models.source import Source, read_source
from ops.models.trees import choose_trees
from ops.models.wrapper_notes import noted_missing
from shared.errors import ModelFaultError
from shared.models.catalog import faults_in
from shared.models.contract import NAME_PATTERN, VERSION_PATTERN, Contract, link_of
from shared.models.store import ModelDraft, write_model_folder
from shared.models.version import ModelVersion

#: Stands in a contract until the model's file is written.
_NO_SHA256 = "0" * 64


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
    _check_options(options)
    source = read_source(options.file)
    version = options.version or next_version(models_dir, options.name)
    contract = _contract(options, version, source)
    background, background_rows = _sample(
        options.background, contract, options.background_rows or MAX_BACKGROUND_ROWS
    )
    examples, examples_rows = _sample(options.examples, contract, options.examples_rows or MAX_EXAMPLE_ROWS)
    agreement = check_margins(contract, source, options.check) if options.check else None
    draft = ModelDraft(contract, source.model, background, examples, _expected(agreement))
    same = find_same(models_dir, draft, options.version)
    if same is None:
        _check_free(models_dir, options.name, version)
    return PreparedImport(options, source, draft, same, background_rows, examples_rows, agreement)


def add_model(models_dir: Path, options: ImportOptions) -> ModelVersion:
    """Add a model, and return its version, or the version that is the same model.

    Raises ModelFaultError if something is wrong (nothing is written then), OSError if the disk refuses.
    """
    return write_import(models_dir, prepare_import(models_dir, options))


def write_import(models_dir: Path, prepared: PreparedImport) -> ModelVersion:
    """Write a prepared model's folder, in place of a broken one, unless it is there already."""
    return prepared.same or write_model_folder(models_dir, prepared.draft, replace=True)


def next_version(models_dir: Path, name: str) -> int:
    """Return the version after the highest that exists or was removed; 1 for a new name."""
    folder = models_dir / name
    there = folder.iterdir() if folder.is_dir() else ()
    numbers = [int(path.name) for path in there if VERSION_PATTERN.fullmatch(path.name)]
    return 1 + max([*numbers, removed_versions(models_dir).get(name, 0)])


def _check_options(options: ImportOptions) -> None:
    if not NAME_PATTERN.fullmatch(options.name):
        raise ModelFaultError(
            f"{options.name!r} cannot be a model's name. Use a-z, 0-9, '.', '_' and '-', at most 64 of them, with a letter "
            "or a digit first."
        )
    for what in ("background", "examples"):
        if getattr(options, f"{what}_rows") is not None and getattr(options, what) is None:
            raise ModelFaultError(
                f"--{what}-rows says how many rows of --{what} to keep. Give --{what} FILE too."
            )


def _check_free(models_dir: Path, name: str, version: int) -> None:
    """Raise ModelFaultError if the version's number means, or meant, another model."""
    folder = models_dir / name / str(version)
    if folder.exists():
        what = "" if faults_in(folder) else "exists with another content, and a version never changes"
    else:
        removed = removed_versions(models_dir).get(name, 0)
        what = "was removed, and its number is not used again" if version <= removed else ""
    if what:
        raise ModelFaultError(
            f"{name}@{version} {what}. Leave --version out to add version {next_version(models_dir, name)}."
        )


def _contract(options: ImportOptions, version: int, source: Source) -> Contract:
    seen = source.inspection
    missing = options.missing
    contract = Contract(
        name=options.name,
        version=version,
        sha256=_NO_SHA256,
        features=with_labels(source, options.labels) if options.labels else seen.features,
        outputs=_outputs(options, source),
        objective=seen.objective,
        library_version=seen.library_version,
        training={
            "added_from": options.file.name,
            "sha256_of_source": source.sha256,
            "booster": seen.booster,
            **({"attributes": dict(seen.attributes)} if seen.attributes else {}),
        },
        link=link_of(seen.objective),
        missing=noted_missing(seen.attributes) if missing is None else missing,
        trees=choose_trees(seen, options.trees),
    )
    return completed(contract, options.contract)


def _outputs(options: ImportOptions, source: Source) -> tuple[str, ...]:
    seen, given = source.inspection, options.outputs
    if not given:
        kind = "class" if seen.objective.startswith("multi:") else "output"
        return tuple(f"{kind}_{index}" for index in range(seen.outputs)) if seen.outputs > 1 else ("output",)
    if len(given) != seen.outputs or len(set(given)) != seen.outputs or not all(given):
        raise ModelFaultError(
            f"--outputs names {', '.join(map(repr, given))}, and the model gives {seen.outputs}. "
            f"Name each of the {seen.outputs} once."
        )
    return given


def _sample(path: Path | None, contract: Contract, most: int) -> tuple[NDArray[np.float32] | None, int]:
    return (None, 0) if path is None else read_sample(path, contract.features, contract.missing, most)


def _expected(agreement: Agreement | None) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    if agreement is None:
        return None
    kept = spaced(len(agreement.rows), MAX_EXPECTED_ROWS)
    return agreement.rows[kept], agreement.margins[kept]
