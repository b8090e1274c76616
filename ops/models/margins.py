"""Compares a model's margins with its owner's, and finds the option that makes them agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops.models.source import Source
from services.api.rows.readers import read_rows_file
from shared.engines.lean_xgboost import THREADS, import_xgboost
from shared.errors import ModelFaultError
from shared.models.contract import Contract, Feature, Link

#: How far margins may be apart, relative to the margin or 1.
TOLERANCE = 1e-5
#: Differing rows that each option is tried on first; one that fits them is then tried on all rows.
_TRIAL_ROWS = 50
#: Numbers that often mean "missing", and how many numbers are tried as such at most.
_MARKERS, _MOST_MARKERS = (-999, -9999, -99999, -1, 0, -99, 99, 999, 9999, 99999, -32768, -1e6), 24

_CODES = (
    "All rows agree if ROWS holds codes of categories: a text file must hold their labels. "
    "Give ROWS with labels, or as .npy."
)
_ORDER = (
    "All rows agree if the columns of ROWS are in alphabetical order: an .npy must have them in the model's order. "
    "Give ROWS in that order, or as CSV with a header."
)
_NOTHING = (
    "Nothing that was tried makes them agree: every number of rounds (--trees), frequent values as --missing, predictions "
    "instead of margins, codes instead of labels. Check that EXPECTED is model.predict(rows, output_margin=True) of this "
    "very model for these very rows, without base_margin."
)

type _Rows = NDArray[np.float32]
type _Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Rows with agreeing margins: the rows, the owner's margins, the largest difference."""

    rows: _Rows
    margins: _Rows
    difference: float


def check_margins(contract: Contract, source: Source, rows_path: Path, expected_path: Path) -> Agreement:
    """Compare the model's margins with EXPECTED; raises ModelFaultError with the remedy."""
    rows = read_rows_file(rows_path, contract.features, contract.missing)
    expected = _read_expected(expected_path, len(rows))
    predictor = _Predictor(contract, source, rows_path)
    try:
        margins = predictor.margins(rows, predictor.used)
        differences = _differences(margins, expected)
        if (differences <= TOLERANCE).all():
            return Agreement(rows, expected.astype(np.float32), float(differences.max()))
        advice = predictor.advice(rows, expected, np.flatnonzero((differences > TOLERANCE).any(axis=1)))
    except import_xgboost().core.XGBoostError as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelFaultError(f"--check: the rows cannot be predicted: {reason}") from error
    said = _described(margins, expected, differences, expected_path)
    raise ModelFaultError(f"--check: {said} {advice} Nothing was added.")


def spaced(count: int, most: int) -> NDArray[np.intp]:
    """Return at most `most` positions of `count`, evenly spaced, first and last included."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)


class _Predictor:
    """Predicts one model's rows in the ways that its owner may have meant."""

    def __init__(self, contract: Contract, source: Source, rows_path: Path) -> None:
        self._contract, self._seen, self._rows_path = contract, source.inspection, rows_path
        self._booster = import_xgboost().Booster({"nthread": THREADS}, model_file=bytearray(source.model))
        self.used = contract.trees.used if contract.trees else 0

    def margins(self, rows: _Rows, used: int) -> _Rows:
        """Predict rows with the first `used` rounds, rows x outputs."""
        matrix = import_xgboost().DMatrix(rows, nthread=THREADS)
        rounds = (0, used if used < self._seen.rounds else 0)  # (0, 0) is all of them
        margins: _Rows = self._booster.predict(
            matrix, output_margin=True, validate_features=False, iteration_range=rounds
        )
        return margins.reshape(len(rows), -1)

    def advice(self, rows: _Rows, expected: _Numbers, differing: NDArray[np.intp]) -> str:
        """Try other options on some differing rows; say what makes all rows agree."""
        picked = differing[spaced(len(differing), _TRIAL_ROWS)]
        for advice, read, used in self._attempts(rows):
            for kind, values in self._readings(self.margins(read[picked], used)).items():
                if (_differences(values, expected[picked]) <= TOLERANCE).all():
                    everything = self._readings(self.margins(read, used))[kind]
                    if (_differences(everything, expected) <= TOLERANCE).all():
                        return _advised(advice, kind)
        return _NOTHING

    def _attempts(self, rows: _Rows) -> Iterator[tuple[str, _Rows, int]]:
        """Give each way to try: advice, rows and rounds.

        The likeliest comes first, and one change comes before two.
        """
        contract, seen = self._contract, self._seen
        trees = [("", self.used)]
        if self.used < seen.rounds:
            trees.append(("--trees all", seen.rounds))
        if seen.best_iteration is not None and self.used != seen.best_iteration + 1:
            trees.append(("--trees best", seen.best_iteration + 1))
        yield from ((advice, rows, used) for advice, used in trees)
        others = [(*contract.missing, marker) for marker in _markers(rows)]
        for missing in [(), *others] if contract.missing else others:
            advice = " ".join(f"--missing {one:.10g}" for one in missing) or "--missing none"
            for read in self._read(contract.features, missing):
                yield from ((f"{more} {advice}".strip(), read, used) for more, used in trees)
        bare = tuple(replace(feature, labels=()) for feature in contract.features)
        if bare != contract.features:
            yield from ((_CODES, read, self.used) for read in self._read(bare, contract.missing))
        if self._rows_path.suffix.lower() == ".npy":
            names = sorted(contract.feature_names)
            yield _ORDER, rows[:, [names.index(name) for name in contract.feature_names]], self.used
        yield from ((f"--trees {number}", rows, number) for number in range(1, seen.rounds))

    def _read(self, features: tuple[Feature, ...], missing: tuple[float, ...]) -> Iterator[_Rows]:
        try:
            yield read_rows_file(self._rows_path, features, missing)
        except ModelFaultError:  # rows that this option does not fit
            return

    def _readings(self, margins: _Rows) -> dict[str, _Rows]:
        """Return margins as they are, and by name the predictions that users mistake for them."""
        wide, link = margins.astype(np.float64), self._contract.link
        found: dict[str, NDArray[Any]] = {"": wide}
        if link is Link.SIGMOID:
            positive = 1 / (1 + np.exp(-wide))
            found["probabilities"] = positive
            found["probabilities of both classes"] = np.hstack([1 - positive, positive])
        if link in {Link.SIGMOID, Link.STEP}:
            found["classes"] = wide > 0
        if link in {Link.SOFTMAX, Link.ARGMAX}:
            shares = np.exp(wide - wide.max(axis=1, keepdims=True))
            found["probabilities"] = shares / shares.sum(axis=1, keepdims=True)
            found["classes"] = wide.argmax(axis=1).reshape(-1, 1)
        if link is Link.EXP:
            found["predictions"] = np.exp(wide)
        return {name: values.astype(np.float32) for name, values in found.items()}


def _described(margins: _Rows, expected: _Numbers, differences: _Numbers, path: Path) -> str:
    if margins.shape != expected.shape:
        return (
            f"{path} has {expected.shape[1]} columns, and the model gives {margins.shape[1]} margins a row."
        )
    row, column = np.unravel_index(differences.argmax(), differences.shape)
    count = int((differences > TOLERANCE).any(axis=1).sum())
    return (
        f"{count} of {len(expected)} rows differ from {path}, most of all row {row} (counted from 0): the model gives "
        f"{margins[row, column]:.7g}, {path.name} says {expected[row, column]:.7g}."
    )


def _advised(advice: str, prediction: str) -> str:
    option = advice.startswith("--")
    if not prediction:
        return f"With {advice} all rows agree." if option else advice
    more = f", and add {advice}." if option else f". {advice}".rstrip()
    return f"EXPECTED holds {prediction}, not margins. Give model.predict(rows, output_margin=True) instead{more}"


def _differences(margins: _Rows, expected: _Numbers) -> _Numbers:
    """Return how far apart they are, relative to the margin or 1.

    Infinity means that they cannot be compared.
    """
    if margins.shape != expected.shape:
        return np.full(expected.shape, np.inf)
    off = np.abs(margins.astype(np.float64) - expected) / np.maximum(1, np.abs(expected))
    return np.asarray(np.where(np.isnan(off), np.inf, off), np.float64)


def _markers(rows: _Rows) -> list[float]:
    """Return numbers that may mean "missing": known ones, then the commonest.

    Codes of categories count as well: XGBoost compares them with `missing`, too.
    """
    values, counts = np.unique(rows[~np.isnan(rows)], return_counts=True)
    common = values[np.argsort(-counts, kind="stable")][:_MOST_MARKERS].tolist()
    known = [float(marker) for marker in _MARKERS if np.float32(marker) in values]
    return list(dict.fromkeys([*known, *common]))[:_MOST_MARKERS]


def _read_expected(path: Path, rows: int) -> _Numbers:
    """Read EXPECTED, what the owner's own model returned, as .npy or .csv, rows x columns."""
    how = "Write numpy.save('expected.npy', model.predict(rows, output_margin=True))."
    try:
        matrix = _read_table(path, rows).reshape(rows, -1)
    except OSError as error:
        raise ModelFaultError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except (ValueError, TypeError, EOFError) as error:
        raise ModelFaultError(
            f"{path} has no line of numbers for each row of ROWS: {error}. {how}"
        ) from error
    if not np.isfinite(matrix).all():
        line, column = np.argwhere(~np.isfinite(matrix))[0]
        raise ModelFaultError(
            f"{path} has {matrix[line, column]} in line {line}, column {column} (counted from 0). {how}"
        )
    return matrix


def _read_table(path: Path, rows: int) -> _Numbers:
    if path.read_bytes()[:6] == b"\x93NUMPY":
        matrix = np.asarray(np.load(path, allow_pickle=False), np.float64)
    else:
        lines = [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
        if not lines:
            raise ValueError("it is empty")
        header = len(lines) == rows + 1
        matrix = np.loadtxt(lines[header:], delimiter=",", ndmin=2)
        if matrix.shape[1] > 1 and np.array_equal(matrix[:, 0], np.arange(len(matrix))):
            raise ValueError("it begins with an index column; write it without: to_csv(…, index=False)")
    if len(matrix) != rows:
        raise ValueError(f"it has {len(matrix)} lines, and ROWS has {rows}")
    return matrix
