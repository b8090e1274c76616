"""Reads a model file for import: its own facts, and the model as UBJSON with all rounds."""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from ops.models.file_kinds import describe_failure, describe_foreign, model_bytes
from ops.models.splits import Splits, splits_of
from shared.errors import ModelFaultError
from shared.models.activation.inspection import ModelInspection, convert_model


@dataclass(frozen=True, slots=True)
class Source:
    """A model file. `sha256` is of the file as given, `model` is UBJSON, `splits` by feature."""

    file: Path
    sha256: str
    inspection: ModelInspection
    model: bytes = field(repr=False)
    splits: tuple[Splits, ...] = field(repr=False)


def read_source(file: Path) -> Source:
    """Read a model file with any suffix. Raises ModelFaultError, which says what the file is."""
    content = _read(file)
    if foreign := describe_foreign(content, str(file)):
        raise ModelFaultError(foreign)
    with tempfile.TemporaryDirectory(prefix="shapbox-import-") as scratch:
        plain, converted = Path(scratch) / file.name, Path(scratch) / "converted" / "model.ubj"
        converted.parent.mkdir()
        plain.write_bytes(model_bytes(content))
        try:
            inspection = convert_model(plain, converted)
        except ModelFaultError as error:
            raise ModelFaultError(_why(error, content, file)) from error
        model = converted.read_bytes()
        splits = splits_of(model, len(inspection.features))
        return Source(file, hashlib.sha256(content).hexdigest(), inspection, model, splits)


def _read(file: Path) -> bytes:
    if file.is_dir():
        inside = sorted(path.name for path in file.iterdir() if path.is_file())[:5]
        holds = f"It holds {', '.join(inside)}." if inside else "It holds no files."
        raise ModelFaultError(f"{file} is a folder. {holds} Give the model's file itself.")
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ModelFaultError(f"There is no file {file}. Check the path.") from None
    except OSError as error:
        raise ModelFaultError(
            f"{file} cannot be read: {error.strerror or error}. Check its permissions."
        ) from error


def _why(error: ModelFaultError, content: bytes, file: Path) -> str:
    """Say why a model is refused: XGBoost cannot load it, or the loaded model cannot be served."""
    said = str(error)
    if refusal := re.search(r"cannot be loaded(?: by XGBoost \S+)?: ", said):
        return describe_failure(model_bytes(content), str(file), said[refusal.end() :].rstrip("."))
    return said.replace(file.name, str(file), 1) if said.startswith(file.name) else said
