"""Writes a model's folder `NAME/VERSION`, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shared.errors import ModelFaultError
from shared.models.contract import (
    MANIFEST_FILE,
    MODEL_FILE,
    Contract,
    Expected,
    FileEntry,
    is_model_folder,
    remedy_for,
)
from shared.models.manifest_reader import read_contract
from shared.models.version import ModelVersion

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BACKGROUND_FILE = "background.npy"
_EXAMPLES_FILE = "examples.npy"


@dataclass(frozen=True, slots=True)
class ModelDraft:
    """Everything that a model's folder is made of.

    `contract` without what is filled in when the folder is written: `sha256`, `size` and the entries of files. `model` is the model
    in UBJSON; `background` and `examples` are rows x features, `expected` is such rows and their margins, rows x outputs.
    """

    contract: Contract
    model: bytes = field(repr=False)
    background: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    examples: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    expected: tuple[NDArray[np.float32], NDArray[np.float32]] | None = field(
        default=None, repr=False, compare=False
    )


def write_model_folder(root: Path, draft: ModelDraft, *, replace: bool = False) -> ModelVersion:
    """Write `root/NAME/VERSION` under a hidden name, flush it, and rename it into place.

    Raises ModelFaultError for a draft that makes no valid manifest, FileExistsError if the version is there
    and `replace` is false, OSError if the disk refuses. In all of these the disk is as it was.
    """
    folder = root / draft.contract.name / str(draft.contract.version)
    if not is_model_folder(folder):
        raise ModelFaultError(
            f"{draft.contract.name!r} version {draft.contract.version} is no model. {remedy_for(folder)}"
        )
    manifest, files = lay_out(draft, folder)
    if folder.exists() and not replace:
        raise FileExistsError(f"{folder} is there already")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".adding-", dir=folder.parent))
    try:
        fresh = aside / "fresh"
        fresh.mkdir()
        for name, content in files.items():
            _write_flushed(fresh / name, content)
        if folder.exists():
            folder.rename(aside / "replaced")
        fresh.rename(folder)
    except OSError:
        _undo(folder, aside)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return ModelVersion(manifest, folder)


def lay_out(draft: ModelDraft, folder: Path) -> tuple[Contract, dict[str, bytes]]:
    """Return the manifest and each file's bytes. Reading it back refuses a bad manifest."""
    files = {MODEL_FILE: draft.model}
    expected = None
    if draft.expected is not None:
        expected = Expected(
            *(
                _lay_out_matrix(f"expected-{name}.npy", matrix, files)
                for name, matrix in zip(("rows", "margins"), draft.expected, strict=True)
            )
        )
    contract = replace(
        draft.contract,
        sha256=hashlib.sha256(draft.model).hexdigest(),
        size=len(draft.model),
        background=None
        if draft.background is None
        else _lay_out_matrix(_BACKGROUND_FILE, draft.background, files),
        examples=None if draft.examples is None else _lay_out_matrix(_EXAMPLES_FILE, draft.examples, files),
        expected=expected,
    )
    files[MANIFEST_FILE] = contract.to_json()
    return read_contract(files[MANIFEST_FILE], folder / MANIFEST_FILE), files


def _lay_out_matrix(name: str, matrix: NDArray[np.float32], files: dict[str, bytes]) -> FileEntry:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(matrix, dtype=np.float32), allow_pickle=False)
    files[name] = buffer.getvalue()
    return FileEntry(file=name, sha256=hashlib.sha256(files[name]).hexdigest(), rows=int(matrix.shape[0]))


def _write_flushed(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _undo(folder: Path, aside: Path) -> None:
    """Put a replaced folder back, as well as the disk allows."""
    with contextlib.suppress(OSError):
        (aside / "replaced").rename(folder)
