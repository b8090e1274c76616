"""Predicts margins of rows in another process, which keeps XGBoost out of the caller's."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.engines.lean_xgboost import THREADS, import_xgboost, load_booster
from shared.errors import ModelFaultError
from shared.models.activation.inspection import run_module
from shared.models.contract import Trees

#: Seconds that the predictions of one call may take.
MARGINS_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class MarginsRequest:
    """Rows to predict, rows x features, and how many rounds of the model are used, of how many."""

    rows: NDArray[np.float32]
    trees: Trees


def predict_margins(model: Path, requests: Sequence[MarginsRequest]) -> list[NDArray[np.float32]]:
    """Return each request's margins, rows x outputs. Raises ModelFaultError if XGBoost fails."""
    with tempfile.TemporaryDirectory(prefix="shapbox-margins-") as folder:
        for index, request in enumerate(requests):
            np.save(Path(folder) / f"rows-{index}.npy", request.rows)
        trees = [[request.trees.used, request.trees.total] for request in requests]
        arguments = [str(model.absolute()), folder, json.dumps(trees)]
        answers, exit_text = run_module(__name__, arguments, MARGINS_TIMEOUT_SECONDS)
        if not answers:
            raise ModelFaultError(f"The rows could not be predicted: XGBoost {exit_text}")
        if fault := answers[0].get("fault"):
            raise ModelFaultError(f"The rows could not be predicted: {fault}")
        return [np.load(Path(folder) / f"margins-{index}.npy") for index in range(len(requests))]


def _predict_all(model: Path, folder: Path, trees: Sequence[Sequence[int]]) -> None:
    xgboost = import_xgboost()
    booster = load_booster(model, Trees(0, 0))
    for index, (used, total) in enumerate(trees):
        rows = np.load(folder / f"rows-{index}.npy")
        matrix = xgboost.DMatrix(rows, nthread=THREADS)
        # A range needs no copy of the rounds, of which there may be hundreds; (0, 0) is all of them.
        rounds = (0, used if used < total else 0)
        margins = booster.predict(matrix, output_margin=True, validate_features=False, iteration_range=rounds)
        np.save(folder / f"margins-{index}.npy", margins.reshape(len(rows), -1))


def _main(model: str, folder: str, trees: str) -> None:
    """Predict the rows in `folder`; print one JSON line, as `run_module` expects."""
    answer = {}
    try:
        _predict_all(Path(model), Path(folder), json.loads(trees))
        answer["done"] = "yes"
    except (ModelFaultError, OSError, ValueError, import_xgboost().core.XGBoostError) as error:
        answer["fault"] = (str(error).strip().splitlines() or [type(error).__name__])[0]
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
