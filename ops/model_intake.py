"""Takes a trained model into the models' folder: looks into it, converts it, and writes its version whole."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.model_matrix import read_matrix
from services.worker.model_inspection import ModelInspection, convert_model
from shared.errors import ModelFaultError
from shared.models.catalog import faults_in, sha256_of
from shared.models.contract import NAME_PATTERN, VERSION_PATTERN
from shared.models.store import ModelDraft, write_model_folder

if TYPE_CHECKING:
    from shared.models.version import ModelVersion

#: The formats that XGBoost reads and that are taken here.
MODEL_SUFFIXES = (".ubj", ".json")


@dataclass(frozen=True, slots=True)
class Intake:
    """What is to be added. `version` None means the next one; no `outputs` means names made up by the tool."""

    name: str
    file: Path
    background: Path | None = None
    examples: Path | None = None
    version: int | None = None
    outputs: tuple[str, ...] = ()


def add_model(models_dir: Path, intake: Intake) -> ModelVersion:
    """Write `models_dir/NAME/VERSION` from a model file; a version that is there is replaced only if it is broken.

    Raises ModelFaultError if something about the intake is wrong (nothing is written then), OSError if the
    disk refuses.
    """
    _check_names(intake)
    version = intake.version or next_version(models_dir / intake.name)
    folder = models_dir / intake.name / str(version)
    if folder.exists() and not faults_in(folder):
        raise ModelFaultError(
            f"{intake.name}@{version} is there and whole, and a version never changes. Leave --version out to "
            f"add version {next_version(folder.parent)}."
        )
    with tempfile.TemporaryDirectory(prefix="shapbox-intake-") as scratch:
        converted = Path(scratch) / "model.ubj"
        seen = convert_model(intake.file, converted)
        draft = _draft(intake, version, seen, converted.read_bytes())
    return write_model_folder(models_dir, draft, replace=True)


def next_version(folder: Path) -> int:
    """Give the version after the highest one in a model's folder; 1 if there is none."""
    there = folder.iterdir() if folder.is_dir() else ()
    return 1 + max((int(path.name) for path in there if VERSION_PATTERN.fullmatch(path.name)), default=0)


def _check_names(intake: Intake) -> None:
    if not NAME_PATTERN.fullmatch(intake.name):
        raise ModelFaultError(
            f"{intake.name!r} is no name for a model. Use a-z, 0-9, '.', '_' and '-', at most 64 of them, "
            "with a letter or a digit first."
        )
    if intake.file.suffix.lower() not in MODEL_SUFFIXES:
        raise ModelFaultError(
            f"{intake.file} is neither .ubj nor .json. Save it with booster.save_model('model.ubj')."
        )
    if not intake.file.is_file():
        raise ModelFaultError(f"There is no file {intake.file}. Check the path.")


def _draft(intake: Intake, version: int, seen: ModelInspection, model: bytes) -> ModelDraft:
    features = seen.feature_names or tuple(f"f{index}" for index in range(seen.features))
    return ModelDraft(
        name=intake.name,
        version=version,
        model=model,
        features=features,
        outputs=_outputs(intake, seen),
        objective=seen.objective,
        xgboost_version=seen.xgboost_version,
        training={"added_from": intake.file.name, "sha256_of_source": sha256_of(intake.file)},
        background=read_matrix(intake.background, features) if intake.background else None,
        examples=read_matrix(intake.examples, features) if intake.examples else None,
    )


def _outputs(intake: Intake, seen: ModelInspection) -> tuple[str, ...]:
    if not intake.outputs:
        kind = "class" if seen.objective.startswith("multi:") else "output"
        return tuple(f"{kind}_{index}" for index in range(seen.outputs)) if seen.outputs > 1 else ("output",)
    if len(intake.outputs) != seen.outputs or len(set(intake.outputs)) != seen.outputs:
        raise ModelFaultError(
            f"--outputs names {', '.join(intake.outputs)}, and the model gives {seen.outputs}. "
            f"Name each of the {seen.outputs} once."
        )
    return intake.outputs
