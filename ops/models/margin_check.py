"""Compares a model's margins with its owner's, and finds the option that makes them agree."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ops.models.margins_process import MarginsRequest, predict_margins
from ops.models.matrices import spaced
from ops.models.owner_margins import read_expected
from ops.models.predictions import predictions_of
from ops.models.rounds_search import SEARCH_ROWS, rounds_to_try, rounds_tried
from ops.models.source import Source
from services.api.rows.readers import read_rows_file
from shared.errors import ModelFaultError
from shared.models.contract import Contract, Feature, Kind, Trees, TreesReason

#: How far margins may be apart, relative to the margin or 1.
TOLERANCE = 1e-5
#: Rows that options are tried on; an option that fits them is then tried on all.
_TRIAL_ROWS = 1_000
#: Numbers that often mean "missing".
_MARKERS = (-999, -9999, -99999, -1, 0, -99, 99, 999, 9999, 99999, -32768, -1e6)
#: Markers that are tried at most, and the share of a column that makes its commonest value one of them.
_MOST_MARKERS, _COMMON_SHARE = 24, 0.03
#: Numbers of rounds that are tried on all rows at most, after they fitted a few.
_MOST_CONFIRMED = 10

type _Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Rows with agreeing margins: the rows, the owner's margins, the largest difference."""

    rows: _Matrix
    margins: _Matrix
    difference: float


@dataclass(frozen=True, slots=True)
class _Trial:
    """Another way to read or predict the rows, with advice; `option`: it is a command's option."""

    advice: str
    features: tuple[Feature, ...]
    missing: tuple[float, ...]
    trees: Trees
    #: Columns in another order, where ROWS is an array without names.
    order: tuple[int, ...] | None = None


def check_margins(contract: Contract, source: Source, check: tuple[Path, Path]) -> Agreement:
    """Compare the model's margins with EXPECTED; raises ModelFaultError with the remedy."""
    rows_path, expected_path = check
    rows = read_rows_file(rows_path, contract.features, contract.missing)
    expected = read_expected(expected_path, len(rows))
    with tempfile.TemporaryDirectory(prefix="shapbox-check-") as folder:
        model = Path(folder) / "model.ubj"
        model.write_bytes(source.model)
        checker = _Checker(contract, source, model, rows_path, expected)
        margins = checker.margins(rows)
        if checker.agrees(margins, expected):
            difference = float(_differences(margins, expected).max())
            return Agreement(rows, expected.astype(np.float32), difference)
        raise ModelFaultError(checker.complaint(rows, margins, expected_path))


class _Checker:
    """Predicts one model's rows in several ways, and compares them with one EXPECTED."""

    def __init__(
        self, contract: Contract, source: Source, model: Path, rows_path: Path, expected: NDArray[np.float64]
    ) -> None:
        self._contract = contract
        self._inspection = source.inspection
        self._model = model
        self._rows_path = rows_path
        self._expected = expected
        self._trees = contract.trees or Trees(0, 0)

    def margins(self, rows: _Matrix) -> _Matrix:
        """Predict rows as the contract says."""
        return predict_margins(self._model, [MarginsRequest(rows, self._trees)])[0]

    def agrees(self, margins: _Matrix, expected: NDArray[np.float64]) -> bool:
        """Whether margins are the expected ones, within the tolerance."""
        return margins.shape == expected.shape and bool((_differences(margins, expected) <= TOLERANCE).all())

    def complaint(self, rows: _Matrix, margins: _Matrix, path: Path) -> str:
        """Say how far apart the margins are, and which attempt makes them agree, if any."""
        advice = self._advice(rows) or self._rounds_advice(rows)
        if advice is None:
            rounds = rounds_tried(rounds_to_try(self._inspection), self._inspection.rounds)
            advice = (
                f"Nothing that was tried makes them agree: {rounds}frequent values as --missing, predictions instead of margins, codes instead of labels. Check that EXPECTED is model.predict(rows, output_margin=True) of this very "
                "model for these very rows, without base_margin."
            )
        return f"--check: {self._difference_text(margins, path)} {advice} Nothing was added."

    def _difference_text(self, margins: _Matrix, path: Path) -> str:
        expected = self._expected
        if margins.shape != expected.shape:
            return f"{path} has {_counted(expected.shape[1], 'column')}, and the model gives {_counted(margins.shape[1], 'margin')} a row."
        differences = _differences(margins, expected)
        worst = int(differences.max(axis=1).argmax())
        column = int(differences[worst].argmax())
        count = int((differences > TOLERANCE).any(axis=1).sum())
        return (
            f"{count} of {len(margins)} rows differ from {path}, most of all row {worst} (counted from 0): the model gives "
            f"{margins[worst, column]:.7g}, {path.name} says {expected[worst, column]:.7g}."
        )

    def _advice(self, rows: _Matrix) -> str | None:
        """Try other options on some of the rows; return what makes all of them agree."""
        picked = spaced(len(rows), _TRIAL_ROWS)
        trials = list(self._trials(rows))
        readable = [(trial, read) for trial in trials if (read := self._read(trial)) is not None]
        requests = [MarginsRequest(read[picked], trial.trees) for trial, read in readable]
        for as_prediction in (False, True):
            for (trial, read), margins in zip(readable, predict_margins(self._model, requests), strict=True):
                name = self._match(margins, self._expected[picked], as_prediction=as_prediction)
                if name is None:
                    continue
                whole = predict_margins(self._model, [MarginsRequest(read, trial.trees)])[0]
                if self._match(whole, self._expected, as_prediction=as_prediction) == name:
                    return _advised(trial.advice, name)
        return None

    def _rounds_advice(self, rows: _Matrix) -> str | None:
        """Try other numbers of rounds on a few of the rows, then those that fit them on all."""
        picked = spaced(len(rows), SEARCH_ROWS)
        numbers = rounds_to_try(self._inspection)
        if not numbers:
            return None
        trees = [Trees(number, self._inspection.rounds, TreesReason.CHOSEN) for number in numbers]
        tried = predict_margins(self._model, [MarginsRequest(rows[picked], one) for one in trees])
        fitting = [
            one
            for one, margins in zip(trees, tried, strict=True)
            if self.agrees(margins, self._expected[picked])
        ]
        for one in fitting[:_MOST_CONFIRMED]:
            if self.agrees(predict_margins(self._model, [MarginsRequest(rows, one)])[0], self._expected):
                return _advised(f"--trees {one.used}", "")
        return None

    def _match(self, margins: _Matrix, expected: NDArray[np.float64], *, as_prediction: bool) -> str | None:
        """Return what EXPECTED is: "" for margins, the name of a prediction, or None."""
        if not as_prediction:
            return "" if self.agrees(margins, expected) else None
        for name, predictions in predictions_of(margins, self._contract.link):
            if self.agrees(predictions, expected):
                return name
        return None

    def _read(self, trial: _Trial) -> _Matrix | None:
        try:
            rows = read_rows_file(self._rows_path, trial.features, trial.missing)
        except ModelFaultError:  # rows that this option does not fit
            return None
        return rows if trial.order is None else rows[:, trial.order]

    def _trials(self, rows: _Matrix) -> Iterator[_Trial]:
        """Give each way to try: the likeliest first, one change before two."""
        contract = self._contract
        now = _Trial("", contract.features, contract.missing, self._trees)
        yield now
        trees = list(self._other_trees())
        for advice, other in trees:
            yield replace(now, advice=advice, trees=other)
        for advice, missing in self._other_missing(rows):
            yield replace(now, advice=advice, missing=missing)
            for more, other in trees:
                yield replace(now, advice=f"{more} {advice}", missing=missing, trees=other)
        bare = tuple(replace(feature, labels=()) for feature in contract.features)
        if bare != contract.features:
            yield replace(now, advice=_CODES_ADVICE, features=bare)
        if self._rows_path.suffix.lower() == ".npy":
            names = contract.feature_names
            alphabetical = tuple(sorted(names).index(name) for name in names)
            if alphabetical != tuple(range(len(names))):
                yield replace(now, advice=_ORDER_ADVICE, order=alphabetical)

    def _other_trees(self) -> Iterator[tuple[str, Trees]]:
        trees, best = self._trees, self._inspection.best_iteration
        if trees.used < trees.total:
            yield "--trees all", Trees(trees.total, trees.total)
        if best is not None and trees.used != best + 1:
            yield "--trees best", Trees(best + 1, trees.total, TreesReason.BEST_ITERATION)

    def _other_missing(self, rows: _Matrix) -> Iterator[tuple[str, tuple[float, ...]]]:
        missing = self._contract.missing
        if missing:
            yield "--missing none", ()
        for marker in _markers(rows, self._contract.features):
            together = (*missing, marker)
            yield " ".join(f"--missing {one:.10g}" for one in together), together


_CODES_ADVICE = "codes"
_ORDER_ADVICE = "order"
#: The wording if the change is one of the rows and not of an option.
_ROWS_ADVICE = {
    _CODES_ADVICE: "All rows agree if ROWS holds codes of categories: a text file must hold their labels. Give ROWS with labels, or as .npy.",
    _ORDER_ADVICE: "All rows agree if the columns of ROWS are in alphabetical order: an .npy must have them in the model's order. "
    "Give ROWS in that order, or as CSV with a header.",
}


def _advised(advice: str, prediction: str) -> str:
    found = _ROWS_ADVICE.get(advice, f"With {advice} all rows agree." if advice else "")
    if not prediction:
        return found
    options = f", and add {advice}" if advice.startswith("--") else ""
    return (
        f"EXPECTED holds {prediction}, not margins. Give model.predict(rows, output_margin=True) instead{options}."
        + (f" {found}" if found and not options else "")
    )


def _differences(margins: _Matrix, expected: NDArray[np.float64]) -> NDArray[np.float64]:
    off = np.abs(margins.astype(np.float64) - expected) / np.maximum(1, np.abs(expected))
    return np.asarray(np.where(np.isnan(off), np.inf, off), np.float64)


def _markers(rows: _Matrix, features: tuple[Feature, ...]) -> list[float]:
    """Return numbers that may mean "missing": known ones, then the commonest of each column.

    Codes of categories count among the known ones: XGBoost compares them with `missing`, too.
    """
    numbers = rows[:, [feature.kind is not Kind.CATEGORY for feature in features]]
    found = [float(marker) for marker in _MARKERS if np.any(rows == np.float32(marker))]
    common: list[tuple[int, float]] = []
    for column in numbers.T:
        values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
        if len(counts) and counts.max() > max(1, _COMMON_SHARE * len(rows)):
            common.append((int(counts.max()), float(values[counts.argmax()])))
    return list(dict.fromkeys(found + [value for _, value in sorted(common, reverse=True)]))[:_MOST_MARKERS]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
