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
EXACT = 1e-5
#: Wrong rows that are looked for among all others, at most: each is compared with every row of the job.
MOST_SEARCHED = 500

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


def distance(values: Matrix, reference: Matrix) -> float:
    """Return the largest difference from XGBoost, relative to 1 or the largest of its row.

    Both are rows x outputs x (features + 1), or can be seen so. Float32 has seven digits, of which either side may
    lose one, so the tolerance depends on the largest of a row. Infinity if a number is not finite.
    """
    return float(_distances(values.reshape(reference.shape), reference).max(initial=0.0))


def _distances(values: Matrix, reference: Matrix) -> NDArray[np.float64]:
    theirs = reference.astype(np.float64)
    relative = np.abs(values - theirs) / np.maximum(1.0, np.abs(theirs).max(axis=-1, keepdims=True))
    return np.where(np.isfinite(relative), relative, np.inf)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows that are not as expected. A misplaced row has the values of another one."""

    wrong: int = 0
    misplaced: int = 0
    missing: int = 0
    largest: float = 0.0
    #: The first fault, in words.
    said: str = ""

    @property
    def right(self) -> bool:
        """Whether every row is right."""
        return not (self.wrong or self.misplaced or self.missing)


def compare(given: Matrix, wanted: Matrix, columns: Sequence[str] = ()) -> Comparison:
    """Compare rows x outputs x (features + 1); rows beyond the last one count as misplaced."""
    if given.ndim != wanted.ndim or given.shape[1:] != wanted.shape[1:]:
        shapes = f"values have the shape {given.shape}, not {wanted.shape}"
        return Comparison(wrong=len(wanted), largest=np.inf, said=shapes)
    both = min(len(given), len(wanted))
    apart = _distances(given[:both], wanted[:both])
    bad = np.flatnonzero((apart > EXACT).any(axis=(1, 2)))
    found = [_whose(given[row], wanted) for row in bad[:MOST_SEARCHED]]
    said = [] if len(given) == len(wanted) else [f"{len(given)} rows were given for {len(wanted)}"]
    if len(bad):
        row, output, column = (int(index) for index in np.argwhere(apart > EXACT)[0])
        name = columns[column] if columns else f"column {column}"
        value, theirs = given[row, output, column], wanted[row, output, column]
        said.append(f"{len(bad)} rows are wrong; row {row}, {name}, output {output} is {value}, not {theirs}")
        said.append(found[0])
    blank, other = found.count(BLANK), sum(one not in {BLANK, ""} for one in found)
    return Comparison(
        wrong=len(bad) - blank - other,
        misplaced=other + len(given) - both,
        missing=blank + len(wanted) - both,
        largest=float(apart.max(initial=0.0)),
        said="; ".join(part for part in said if part),
    )


#: The answer of `_whose` for a row that was never written.
BLANK = "it has no values"


def _whose(values: Matrix, wanted: Matrix) -> str:
    """Say where the values of a wrong row come from, if that can be seen."""
    if not np.isfinite(values).all() or not values.any():
        return BLANK
    holders = np.flatnonzero((_distances(values[np.newaxis], wanted) <= EXACT).all(axis=(1, 2)))
    return f"it has the values of row {holders[0]}" if len(holders) else ""
