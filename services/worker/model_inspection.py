"""Looks into model files with XGBoost: what they take and give, and whether they can be explained at all.

XGBoost may crash or hang on a damaged file (measured: of 100 models with three bytes altered, 17 ended in a
segmentation fault and one did not end within 10 s). So files are looked into in a process of their own, which also keeps
XGBoost out of the memory of whoever asks.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from services.worker.child_process import run_module
from services.worker.lean_xgboost import THREADS, import_xgboost, load_booster
from shared.errors import ModelFaultError
from shared.models.catalog import ModelFault
from shared.models.contract import remedy_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shared.models.version import ModelVersion

#: Seconds that looking into all files of one call may take; a damaged file can keep XGBoost busy for ever.
INSPECTION_TIMEOUT_SECONDS = 60.0

#: How far base value + contributions may be from the margin, relative to its size.
ADDITIVITY_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class ModelInspection:
    """What a model file says of itself, after a row of missing values was predicted and explained with it.

    `feature_names` is empty if the model was trained without names. `categorical` are the positions of
    categorical features. `outputs` counts margins. `xgboost_version` is that of the library that looked.
    """

    features: int
    feature_names: tuple[str, ...]
    categorical: tuple[int, ...]
    outputs: int
    objective: str
    xgboost_version: str

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """Take it back out of what `dataclasses.asdict` made of it and JSON carried."""
        names, categorical = tuple(document.pop("feature_names")), tuple(document.pop("categorical"))
        return cls(**document, feature_names=names, categorical=categorical)


def inspect_models(
    paths: Sequence[Path], timeout: float = INSPECTION_TIMEOUT_SECONDS
) -> list[ModelInspection | ModelFaultError]:
    """Look into model files (.ubj or .json) in another process: for each what it is, or what is wrong with it.

    A file that kills the process costs a new process, and only itself.
    """
    findings: list[ModelInspection | ModelFaultError] = []
    while len(findings) < len(paths):
        left = paths[len(findings) :]
        answers, ending = run_module(
            __name__, ["inspect", *map(str, (path.absolute() for path in left))], timeout
        )
        findings += [_finding(answer) for answer in answers[: len(left)]]
        if len(answers) < len(left):
            broken = left[len(answers)]
            findings.append(ModelFaultError(f"{broken.name} cannot be loaded: XGBoost {ending}"))
    return findings


def inspect_model(path: Path) -> ModelInspection:
    """Look into one model file in another process; raises ModelFaultError if it cannot be loaded or explained."""
    return _given(inspect_models([path])[0])


def convert_model(source: Path, target: Path) -> ModelInspection:
    """Look into a model file and write it to `target` as UBJSON; raises ModelFaultError if it is no good."""
    answers, ending = run_module(
        __name__, ["convert", str(source.absolute()), str(target.absolute())], INSPECTION_TIMEOUT_SECONDS
    )
    if not answers:
        raise ModelFaultError(f"{source.name} cannot be loaded: XGBoost {ending}")
    return _given(_finding(answers[0]))


def find_model_faults(versions: Iterable[ModelVersion]) -> list[ModelFault]:
    """Compare models with their manifests by loading them; faults of models whose files were found whole."""
    asked = list(versions)
    findings = inspect_models([version.model_path for version in asked])
    return [
        ModelFault(version.id, version.folder, what, remedy_for(version.folder))
        for version, finding in zip(asked, findings, strict=True)
        for what in _disagreements(version, finding)
    ]


def look_into(booster: Any, file: str) -> ModelInspection:
    """Describe a loaded booster, predicting and explaining one row of missing values with it.

    Raises ModelFaultError, naming `file`, if that fails or gives no sum.
    """
    xgboost = import_xgboost()
    features = int(booster.num_features())
    row = xgboost.DMatrix(np.full((1, features), np.nan, dtype=np.float32), nthread=THREADS)
    try:
        margins = np.atleast_2d(booster.predict(row, output_margin=True, validate_features=False))
        values = booster.predict(row, pred_contribs=True, validate_features=False)
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise ModelFaultError(f"{file} cannot be explained: {_first_line(error)}") from error
    off = np.abs(values.reshape(margins.shape[1], features + 1).sum(axis=1) - margins[0])
    if not np.all(off <= ADDITIVITY_TOLERANCE * (1 + np.abs(margins[0]))):
        raise ModelFaultError(f"{file} gives SHAP values that do not add up to its prediction")
    config = json.loads(booster.save_config())
    return ModelInspection(
        features=features,
        feature_names=tuple(booster.feature_names or ()),
        categorical=tuple(i for i, kind in enumerate(booster.feature_types or ()) if kind == "c"),
        outputs=int(margins.shape[1]),
        objective=str(config["learner"]["objective"]["name"]),
        xgboost_version=str(xgboost.__version__),
    )


def _disagreements(version: ModelVersion, finding: ModelInspection | ModelFaultError) -> Iterator[str]:
    if isinstance(finding, ModelFaultError):
        yield str(finding)
        return
    manifest = version.contract
    if finding.features != len(manifest.features):
        yield f"the model takes {finding.features} features, its manifest names {len(manifest.features)}"
    elif finding.feature_names not in {(), manifest.features}:
        yield "the model's feature names are not the manifest's, or in another order"
    if finding.outputs != len(manifest.outputs):
        yield f"the model gives {finding.outputs} outputs, its manifest names {len(manifest.outputs)}"
    if finding.objective != manifest.objective:
        yield f"the model's objective is {finding.objective}, its manifest says {manifest.objective}"


def _given(finding: ModelInspection | ModelFaultError) -> ModelInspection:
    if isinstance(finding, ModelFaultError):
        raise finding
    return finding


def _finding(answer: dict[str, Any]) -> ModelInspection | ModelFaultError:
    fault = answer.get("fault")
    return ModelInspection.from_document(answer) if fault is None else ModelFaultError(str(fault))


def _answer(path: Path, copy: Path | None = None) -> dict[str, Any]:
    try:
        booster = load_booster(path)
        inspection = look_into(booster, path.name)
        if copy is not None:
            copy.write_bytes(booster.save_raw("ubj"))
    except (ModelFaultError, OSError) as error:
        return {"fault": str(error)}
    return asdict(inspection)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _main(command: str, *paths: str) -> None:
    """`inspect FILE…` or `convert FILE TARGET`: one JSON line an answer, flushed before the next file is tried."""
    jobs = [(path, None) for path in paths] if command == "inspect" else [(paths[0], Path(paths[1]))]
    for path, copy in jobs:
        sys.stdout.write(json.dumps(_answer(Path(path), copy)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
