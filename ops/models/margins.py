"""Compares a model's margins with its owner's, and finds the option that makes them agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ops.models.source import Source
from services.api.rows.readers import read_rows_file
from shared.engines.lean_xgboost import THREADS, import_xgboost
from shared.errors import ModelFaultError
from shared.models.contract import Contract, Link

#: How far margins may be apart, relative to the margin or 1.
TOLERANCE = 1e-5
#: Differing rows that each option is tried on first; one that fits them is then tried on all rows.
_TRIAL_ROWS = 50
#: Numbers that often mean "missing", and how many numbers are tried as such at most.
_MARKERS, _MOST_MARKERS = (-999, -9999, -99999, -1, 0, -99, 99, 999, 9999, 99999, -32768, -1e6), 24

_NOTHING = (
    "Nothing that was tried makes them agree: every number of rounds (--trees), frequent values as --missing, predictions "
    "instead of margins. Check that EXPECTED is model.predict(rows, output_margin=True) of this very model for these "
    "very rows, without base_margin, and that ROWS holds labels, or as .npy codes in the model's column order."
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
        margins = predictor.predict(rows, predictor.used)
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

    def predict(self, rows: _Rows, used: int, *, margin: bool = True) -> _Rows:
        """Predict rows with the first `used` rounds, rows x outputs."""
        matrix = import_xgboost().DMatrix(rows, nthread=THREADS)
        rounds = (0, used if used < self._seen.rounds else 0)  # (0, 0) is all of them
        found: _Rows = self._booster.predict(
            matrix, output_margin=margin, validate_features=False, iteration_range=rounds
        )
        return found.reshape(len(rows), -1)

    def advice(self, rows: _Rows, expected: _Numbers, differing: NDArray[np.intp]) -> str:
        """Try other options on some differing rows; say what makes all rows agree."""
        picked = differing[spaced(len(differing), _TRIAL_ROWS)]
        for options, read, used in self._attempts(rows):
            for kind, values in self._readings(read[picked], used).items():
                if not _agree(values, expected[picked]) or not _agree(
                    self._readings(read, used)[kind], expected
                ):
                    continue
                if not kind:
                    return f"With {options} all rows agree."
                more = f", and add {options}" if options else ""
                return f"EXPECTED holds {kind}, not margins. Give model.predict(rows, output_margin=True) instead{more}."
        return _NOTHING

    def _attempts(self, rows: _Rows) -> Iterator[tuple[str, _Rows, int]]:
        """Give each way to try: options, rows and rounds.

        The likeliest comes first, and one change comes before two.
        """
        missing, best = self._contract.missing, self._seen.best_iteration
        trees = {"": self.used, "--trees all": self._seen.rounds}
        if best is not None:
            trees["--trees best"] = best + 1
        ways = [(option, used) for option, used in trees.items() if not option or used != self.used]
        yield from ((option, rows, used) for option, used in ways)
        others = [(*missing, marker) for marker in _markers(rows)]
        for markers in [(), *others] if missing else others:
            advice = " ".join(f"--missing={one:.10g}" for one in markers) or "--missing none"
            try:
                read = read_rows_file(self._rows_path, self._contract.features, markers)
            except ModelFaultError:  # rows that this option does not fit
                continue
            yield from ((f"{option} {advice}".strip(), read, used) for option, used in ways)
        yield from ((f"--trees {number}", rows, number) for number in range(1, self._seen.rounds))

    def _readings(self, rows: _Rows, used: int) -> dict[str, _Rows]:
        """Return margins, and by name what users mistake for them."""
        predictions, link = self.predict(rows, used, margin=False), self._contract.link
        found = {"": self.predict(rows, used), "predictions": predictions}
        if link is Link.SIGMOID:
            found["probabilities of both classes"] = np.hstack([1 - predictions, predictions])
            found["classes"] = (predictions > 0.5).astype(np.float32)
        if link is Link.SOFTMAX:
            found["classes"] = predictions.argmax(axis=1, keepdims=True).astype(np.float32)
        return found


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


def _differences(margins: _Rows, expected: _Numbers) -> _Numbers:
    """Return how far apart they are, relative to the margin or 1.

    Infinity means that they cannot be compared.
    """
    if margins.shape != expected.shape:
        return np.full(expected.shape, np.inf)
    off = np.abs(margins.astype(np.float64) - expected) / np.maximum(1, np.abs(expected))
    return np.asarray(np.where(np.isnan(off), np.inf, off), np.float64)


def _agree(margins: _Rows, expected: _Numbers) -> bool:
    return bool((_differences(margins, expected) <= TOLERANCE).all())


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
    try:
        return _read_table(path, rows)
    except OSError as error:
        raise ModelFaultError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except (ValueError, TypeError, EOFError) as error:
        how = "Write numpy.save('expected.npy', model.predict(rows, output_margin=True))."
        raise ModelFaultError(
            f"{path} has no line of numbers for each row of ROWS: {error}. {how}"
        ) from error


def _read_table(path: Path, rows: int) -> _Numbers:
    if path.read_bytes()[:6] == b"\x93NUMPY":
        matrix = np.asarray(np.load(path, allow_pickle=False), np.float64)
    else:
        lines = [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
        below = lines[1:] if len(lines) == rows + 1 else lines  # a header
        matrix = np.loadtxt(below, delimiter=",", ndmin=2) if below else np.empty((0, 1))
        if matrix.shape[1] > 1 and np.array_equal(matrix[:, 0], np.arange(len(matrix))):
            raise ValueError("it begins with an index column; write it without: to_csv(…, index=False)")
    if len(matrix) != rows:
        raise ValueError(f"it has {len(matrix)} lines, and ROWS has {rows}")
    matrix = matrix.reshape(rows, -1)
    if not np.isfinite(matrix).all():
        line, column = np.argwhere(~np.isfinite(matrix))[0]
        raise ValueError(f"{matrix[line, column]} in line {line}, column {column} (counted from 0)")
    return matrix
