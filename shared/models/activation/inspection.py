"""Inspects model files with XGBoost: features, outputs, rounds, and a first explanation.

XGBoost may crash or hang on a damaged file (measured: of 100 models with three bytes altered, 17 ended in a
segmentation fault and one did not end within 10 s). So files are inspected in a process of their own, which also keeps
XGBoost out of the caller's memory.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shared.build import ROOT
from shared.child_environment import child_environment
from shared.engines.lean_xgboost import THREADS, import_xgboost, load_booster
from shared.errors import ModelFaultError
from shared.memory import ran_out_of_memory
from shared.models.activation.features import features_of
from shared.models.contract import Feature, Kind, Trees
from shared.ubjson import read_ubjson

if TYPE_CHECKING:
    from collections.abc import Sequence


#: Seconds that the files of one call may take; a damaged file can keep XGBoost busy forever.
INSPECTION_TIMEOUT_SECONDS = 60.0

#: The largest difference between base value + contributions and the margin, relative to its size.
ADDITIVITY_TOLERANCE = 1e-3

#: Makes `load_booster` keep all rounds: a sliced booster has no attributes.
ALL_ROUNDS = Trees(0, 0)

#: The time and source line in front of XGBoost's own messages.
SOURCE_LINE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: ")


@dataclass(frozen=True, slots=True)
class ModelInspection:
    """The description of a model file that XGBoost can predict and explain.

    `features` have the file's names, or f0, f1, … where it has none (`named` is false then). `outputs` counts margins.
    `rounds` are all boosting rounds in the file, 0 for gblinear. `best_iteration` is the last round that `model.predict`
    uses after early stopping; a value that names no round stays in `attributes`, which are the file's other notes.
    `library_version` is that of the XGBoost that read the file.
    """

    features: tuple[Feature, ...]
    named: bool
    outputs: int
    objective: str
    booster: str
    rounds: int
    best_iteration: int | None
    attributes: Mapping[str, str] = field(hash=False)
    library_version: str

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """Rebuild an inspection from the JSON of its `dataclasses.asdict`."""
        features = tuple(
            Feature(one["name"], Kind(one["kind"]), tuple(one["labels"])) for one in document.pop("features")
        )
        return cls(features=features, **document)


def inspect_models(
    paths: Sequence[Path], timeout: float = INSPECTION_TIMEOUT_SECONDS
) -> list[ModelInspection | ModelFaultError]:
    """Inspect .ubj or .json files in another process; return an inspection or fault for each.

    A file that kills the process costs a new process, and only itself.
    """
    findings: list[ModelInspection | ModelFaultError] = []
    while len(findings) < len(paths):
        left = paths[len(findings) :]
        answers, exit_text = run_module(
            __name__, ["inspect", *map(str, (path.absolute() for path in left))], timeout
        )
        findings += [_finding(answer) for answer in answers[: len(left)]]
        if len(answers) < len(left):
            broken = left[len(answers)]
            findings.append(ModelFaultError(f"{broken.name} cannot be loaded: XGBoost {exit_text}"))
    return findings


def inspect_model(path: Path) -> ModelInspection:
    """Inspect one file in another process. Raises ModelFaultError if XGBoost cannot explain it."""
    return _given(inspect_models([path])[0])


def run_module(module: str, arguments: Sequence[str], timeout: float) -> tuple[list[dict[str, Any]], str]:
    """Run `python -m module`; return the JSON objects that it prints, and how it ended.

    For work that may crash its process, or that imports XGBoost.
    """
    try:
        done = subprocess.run(  # noqa: S603 - this very Python and a module of ours, no shell
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        output, errors = done.stdout, done.stderr.decode(errors="replace").strip().splitlines()
        exit_text = f"ended with {done.returncode} ({errors[-1][:200] if errors else 'it crashed'})"
    except subprocess.TimeoutExpired as late:
        output, exit_text = late.stdout or b"", f"was stopped after {timeout:.0f} s"
    return [json.loads(line) for line in output.splitlines() if line.endswith(b"}")], exit_text


def convert_model(source: Path, target: Path) -> ModelInspection:
    """Inspect a file and write it to `target` as UBJSON. Raises as `inspect_model` does."""
    answers, exit_text = run_module(
        __name__, ["convert", str(source.absolute()), str(target.absolute())], INSPECTION_TIMEOUT_SECONDS
    )
    if not answers:
        raise ModelFaultError(f"{source.name} cannot be loaded: XGBoost {exit_text}")
    return _given(_finding(answers[0]))


def inspect_booster(booster: Any, file: str) -> ModelInspection:
    """Describe a loaded booster, after it has explained one row of missing values.

    Raises ModelFaultError, naming `file`, if that fails or the values do not add up, and MemoryError.
    """
    try:
        learner = read_ubjson(bytes(booster.save_raw("ubj")))["learner"]
        features = features_of(learner, file)
        objective = str(learner["objective"]["name"])
        training = _training_of(booster, learner["gradient_booster"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if ran_out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise ModelFaultError(f"{file} has a description that cannot be read: {error!r}") from error
    return ModelInspection(
        features=features,
        named=bool(learner.get("feature_names")),
        outputs=_try_out(booster, len(features), file),
        objective=objective,
        library_version=str(import_xgboost().__version__),
        **training,
    )


def _training_of(booster: Any, described: dict[str, Any]) -> dict[str, Any]:
    """Return the kind of booster, its rounds, the best one, and its other attributes."""
    attributes: dict[str, str] = dict(booster.attributes())
    name = str(described["name"])
    if name == "gblinear":
        return {"booster": name, "rounds": 0, "best_iteration": None, "attributes": attributes}
    rounds = int(booster.num_boosted_rounds())
    noted = attributes.get("best_iteration", "")
    best = int(noted) if noted.isascii() and noted.isdigit() and int(noted) < rounds else None
    if best is not None:
        del attributes["best_iteration"]
    dropped = len(described.get("weight_drop", ())) or len(described.get("model", {}).get("weight_drop", ()))
    kind = "dart" if dropped else name
    return {"booster": kind, "rounds": rounds, "best_iteration": best, "attributes": attributes}


def _try_out(booster: Any, features: int, file: str) -> int:
    """Explain one row of missing values, and return how many margins the model gives."""
    xgboost = import_xgboost()
    row = xgboost.DMatrix(np.full((1, features), np.nan, dtype=np.float32), nthread=THREADS)
    try:
        margins = np.atleast_2d(booster.predict(row, output_margin=True, validate_features=False))
        values = booster.predict(row, pred_contribs=True, validate_features=False)
    except (xgboost.core.XGBoostError, ValueError) as error:
        if ran_out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise ModelFaultError(f"{file} cannot be explained: {_first_line(error)}") from error
    off = np.abs(values.reshape(margins.shape[1], features + 1).sum(axis=1) - margins[0])
    if not np.all(off <= ADDITIVITY_TOLERANCE * (1 + np.abs(margins[0]))):
        raise ModelFaultError(f"{file} gives SHAP values that do not add up to its prediction")
    return int(margins.shape[1])


def _given(finding: ModelInspection | ModelFaultError) -> ModelInspection:
    if isinstance(finding, ModelFaultError):
        raise finding
    return finding


def _finding(answer: dict[str, Any]) -> ModelInspection | ModelFaultError:
    fault = answer.get("fault")
    return ModelInspection.from_document(answer) if fault is None else ModelFaultError(str(fault))


def _answer(path: Path, copy: Path | None = None) -> dict[str, Any]:
    try:
        booster = load_booster(path, ALL_ROUNDS)
        inspection = inspect_booster(booster, path.name)
        if copy is not None:
            copy.write_bytes(booster.save_raw("ubj"))
    except (ModelFaultError, OSError) as error:
        return {"fault": SOURCE_LINE.sub("", str(error))}
    return asdict(inspection)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _main(command: str, *paths: str) -> None:
    """Run `inspect FILE…` or `convert FILE TARGET`; print a JSON line for each file at once."""
    jobs = [(path, None) for path in paths] if command == "inspect" else [(paths[0], Path(paths[1]))]
    for path, copy in jobs:
        sys.stdout.write(json.dumps(_answer(Path(path), copy)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
