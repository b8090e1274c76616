"""Expected values of rows, and the one comparison of results with them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.engines.lean_xgboost import THREADS, import_xgboost, load_booster
from shared.engines.shap_engine import ShapEngine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import ModelFaultError
from shared.models.contract import Trees
from shared.models.version import ModelVersion

#: The largest `distance` from the expected values that counts as exact.
EXACT = 3e-6
#: The share of the base value (or of 1) that is added to a row's size: EXACT of it is two steps of float32.
BASE_SHARE = 0.1

type Matrix = NDArray[np.float32]
type Explain = Callable[[Matrix], Matrix]


def example_rows(version: ModelVersion, count: int) -> Matrix:
    """Return so many rows: the model's examples over and over, each number shaken by up to 1 %."""
    if version.examples_path is None:
        raise ModelFaultError(f"{version.id} has no example rows: add one that has, with --examples.")
    examples = np.load(version.examples_path)
    generator = np.random.default_rng(20261123)
    picked = examples[generator.integers(0, len(examples), count)]
    return np.asarray(picked * generator.uniform(0.99, 1.01, picked.shape), dtype=np.float32)


def reference_contributions(model_path: Path, rows: Matrix, trees: Trees | None = None) -> Matrix:
    """Return `Booster.predict(pred_contribs=True)`: (rows, outputs, features + 1), base last.

    `trees` are the contract's; without them the rounds that `model.predict` uses count.

    Raises ModelFaultError if the model cannot be loaded, OSError if it cannot be read.
    """
    return bare_explainer(model_path, trees)(rows)


def bare_explainer(model_path: Path, trees: Trees | None = None) -> Explain:
    """Return the function `reference_contributions` with the model loaded once."""
    booster = load_booster(model_path, trees)
    dmatrix = import_xgboost().DMatrix

    def explain(rows: Matrix) -> Matrix:
        matrix = dmatrix(rows, missing=np.nan, nthread=THREADS)
        values = booster.predict(matrix, pred_contribs=True, validate_features=False)
        return np.asarray(values, dtype=np.float32).reshape(len(rows), -1, rows.shape[1] + 1)

    return explain


def interventional_contributions(version: ModelVersion, rows: Matrix) -> Matrix:
    """Return shap's own interventional values, in the same shape. Takes milliseconds a row."""
    warnings.filterwarnings("ignore", module="shap")  # its advice is for notebooks
    background = np.load(version.background_path or "").astype(np.float32, copy=False)
    engine = ShapEngine(XGBoostEngine.load(version), background, len(version.outputs))
    return engine.explain(rows).contributions


def distance(values: Matrix, reference: Matrix, *, base: bool = True) -> float:
    """Return the largest difference from the reference, relative to the size of its row.

    Both are rows x outputs x (features + 1), base value last, or can be seen so; with `base=False` they have no base
    value. The size is the sum of the absolute values, since each is a sum of float32, and a small share of the base
    value, which trees may carry in their leaves. Infinity if a number is not finite.
    """
    return float(_distances(values.reshape(reference.shape), reference, base=base).max(initial=0.0))


def _distances(values: Matrix, reference: Matrix, *, base: bool = True) -> NDArray[np.float64]:
    theirs = reference.astype(np.float64)
    sizes = np.abs(theirs[..., :-1] if base else theirs).sum(axis=-1, keepdims=True)
    bases = np.abs(theirs[..., -1:]) if base else 0.0
    relative = np.abs(values - theirs) / (sizes + BASE_SHARE * np.maximum(1.0, bases))
    return np.where(np.isfinite(relative), relative, np.inf)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The number of wrong rows, the largest distance, and the first fault in words."""

    wrong: int = 0
    largest: float = 0.0
    said: str = ""


def compare(given: Matrix, wanted: Matrix, columns: Sequence[str] = ()) -> Comparison:
    """Compare rows x outputs x (features + 1). Rows that are missing, or too many, are wrong."""
    if given.shape != wanted.shape:
        shapes = f"values have the shape {given.shape}, not {wanted.shape}"
        return Comparison(max(len(given), len(wanted)), np.inf, shapes)
    apart = _distances(given, wanted)
    places = np.argwhere(apart > EXACT)
    if not len(places):
        return Comparison(largest=float(apart.max(initial=0.0)))
    row, output, column = (int(index) for index in places[0])
    name = columns[column] if columns else f"column {column}"
    value, theirs = given[row, output, column], wanted[row, output, column]
    wrong = len(np.unique(places[:, 0]))
    said = f"{wrong} rows are wrong; row {row}, {name}, output {output} is {value}, not {theirs}"
    others = np.flatnonzero((_distances(given[row : row + 1], wanted) <= EXACT).all(axis=(1, 2)))
    whose = f"; it has the values of row {others[0]}" if len(others) else ""
    return Comparison(wrong, float(apart.max()), said + whose)
