"""The models that are served, rows to try them with, and the check of their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from ops.lab.reference import EXACT, Comparison, Matrix, compare, reference_contributions
from ops.verify.report import FailedError
from shared.errors import ShapboxError
from shared.models.catalog import ModelCatalog, faults_in
from shared.models.contract import Feature, Kind, Trees, TreesReason
from shared.models.version import ModelVersion

#: The share of cells that are left out: XGBoost takes what is missing, and so must all before it.
MISSING = 0.03
#: Powers of ten between which a made-up column's numbers lie: nobody says what the features are measured in.
LEAST_POWER, MOST_POWER = -1.0, 3.0
_REMEDY = (
    "Do not use these values. Roll back to the deploy before, and compare the versions in /version with those that "
    "the models were checked with."
)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model, as /v1/models tells of it."""

    id: str
    columns: tuple[Feature, ...]
    outputs: tuple[str, ...]
    sha256: str
    fallback: bool
    #: The boosting rounds that count.
    trees: Trees | None = None

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """Read one entry of /v1/models. Raises FailedError for anything else."""
        try:
            contract = document["contract"]
            trees = contract["trees"]
            return cls(
                id=f"{document['name']}@{document['version']}",
                columns=tuple(
                    Feature(one["name"], Kind(one["kind"]), tuple(one.get("labels", ())))
                    for one in contract["features"]
                ),
                outputs=tuple(document["outputs"]),
                sha256=str(document["sha256"]),
                fallback=bool(document["fallback"]),
                trees=Trees(trees["used"], trees["total"], TreesReason(trees["reason"])) if trees else None,
            )
        except (KeyError, TypeError, ValueError) as fault:
            remedy = "See which version runs there: /version."
            raise FailedError(f"/v1/models tells of a model without {fault}.", remedy) from fault


def local_versions(folder: Path | None) -> tuple[ModelVersion, ...]:
    """Return the models in a folder; none without it, or if its manifests are broken."""
    try:
        return ModelCatalog.load(folder).versions() if folder else ()
    except ShapboxError:  # what is served is in question, not what lies here
        return ()


def find_copy(model: ServedModel, versions: Sequence[ModelVersion]) -> ModelVersion | None:
    """Return the copy of a served model, if there is one.

    It is the same file under any name, else the one of the same name and version.
    """
    names = tuple(column.name for column in model.columns)
    fitting = [
        one
        for one in versions
        if one.features == names and len(one.outputs) == len(model.outputs) and not faults_in(one.folder)
    ]
    same = [one for one in fitting if one.contract.sha256 == model.sha256]
    return next(iter([*same, *(one for one in fitting if one.id == model.id)]), None)


def plausible_rows(
    columns: Sequence[Feature], copy: ModelVersion | None, count: int, seed: int = 1
) -> Matrix:
    """Return `count` rows with codes for categories and some missing cells.

    They are the copy's examples if it has any, else made up. The same seed gives the same rows.
    """
    chance = np.random.default_rng(seed)
    if copy is not None and copy.examples_path is not None:
        examples = np.load(copy.examples_path, allow_pickle=False)
        rows = np.array(examples[np.arange(count) % len(examples)], dtype=np.float32)
    else:
        rows = _made_up(columns, count, chance)
    rows[chance.random(rows.shape) < MISSING] = np.nan
    return rows


def _made_up(columns: Sequence[Feature], count: int, chance: np.random.Generator) -> Matrix:
    sizes = 10.0 ** chance.uniform(LEAST_POWER, MOST_POWER, len(columns))
    rows = np.asarray(chance.normal(0.5, 1.0, (count, len(columns))) * sizes, dtype=np.float32)
    for place, column in enumerate(columns):
        if column.kind is Kind.CATEGORY:  # of one without labels, 0 and 1 are codes that every model knows
            rows[:, place] = chance.integers(0, len(column.labels) or 2, count)
        elif column.kind is Kind.BOOLEAN:
            rows[:, place] = chance.integers(0, 2, count)
    return rows


@dataclass(frozen=True, slots=True)
class Expectation:
    """Rows of a model, and the values they must have.

    `wanted` is None without a copy of the model here.
    """

    model: ServedModel
    rows: Matrix = field(repr=False)
    #: (rows, outputs, features + 1), base value last.
    wanted: Matrix | None = field(default=None, repr=False)
    #: The folder of the copy, if it is another model.
    impostor: Path | None = None

    @classmethod
    def of(cls, model: ServedModel, versions: Sequence[ModelVersion], count: int) -> Self:
        """Make rows for a model and, where a copy of it lies here, XGBoost's own values of them."""
        copy = find_copy(model, versions)
        rows = plausible_rows(model.columns, copy, count)
        if copy is None:
            return cls(model, rows)
        try:
            wanted = reference_contributions(copy.model_path, rows, model.trees)
        except ShapboxError:  # of a kind that XGBoost here cannot load: the sums are checked all the same
            return cls(model, rows)
        return cls(model, rows, wanted, None if copy.contract.sha256 == model.sha256 else copy.folder)

    def check(self, result: dict[str, Any]) -> str:
        """Say how exact a JSON result is.

        Raises FailedError, which names the model and the worst place.
        """
        given, predictions = self._read(result)
        names = [*(column.name for column in self.model.columns), "base value"]
        off, row = _worst_sum(given, predictions)
        compared = compare(given, self.wanted, names) if self.wanted is not None else None
        if self.impostor:
            raise self._another_model(compared)
        wrong = []
        if not off <= EXACT:
            wrong.append(f"base value and values miss the prediction by {off:.1e} in row {row}")
        if compared and not compared.right:
            wrong.append(f"they differ from XGBoost's own for the same file: {compared.said}")
        if wrong:
            measured = f"sums off by {off:.0e}" + (
                f", values off by {compared.largest:.0e}" if compared else ""
            )
            raise FailedError(f"{self.model.id} gives wrong values: {'; '.join(wrong)}.", _REMEDY, measured)
        if compared is None:
            return f"sums within {off:.0e}, no copy here to compare with"
        own = f"within {compared.largest:.0e}" if compared.largest else "exactly"
        return f"sums within {off:.0e}, XGBoost's own {own}"

    def _read(self, result: dict[str, Any]) -> tuple[Matrix, Matrix]:
        """Return values with base values, and predictions. Null becomes NaN. Raises FailedError."""
        rows, columns, outputs = len(self.rows), len(self.model.columns), len(self.model.outputs)
        try:
            # Numbers written from float32 are read as float32: in float64 the digits mean other numbers.
            values, base, predictions = (
                np.asarray(result[name], dtype=np.float32)
                for name in ("values", "base_values", "predictions")
            )
            values = values.reshape(rows, columns, outputs).swapaxes(1, 2)
            base, predictions = base.reshape(rows, outputs, 1), predictions.reshape(rows, outputs)
        except (ValueError, KeyError, TypeError) as fault:
            raise FailedError(f"{self.model.id}: this is no result: {fault!r}.", _REMEDY) from fault
        return np.concatenate([values, base], axis=2), predictions

    def _another_model(self, compared: Comparison | None) -> FailedError:
        differ = f", and the values differ: {compared.said}" if compared and not compared.right else ""
        return FailedError(
            f"{self.model.id} is not the model that lies in {self.impostor}: the files differ (SHA-256 "
            f"{self.model.sha256[:12]}… is served){differ}.",
            "A version never changes: add the new file as the next version and deploy, or point MODELS_DIR at the "
            "models that should be served.",
            f"differs by {compared.largest:.0e}" if compared else "",
        )


def _worst_sum(given: Matrix, predictions: Matrix) -> tuple[float, int]:
    """Return the largest difference of a sum from its prediction, and its row.

    It is relative to 1 or the sum of the absolute values: the error of a sum of float32 grows with that.
    """
    exact = given.astype(np.float64)
    off = np.abs(exact.sum(axis=2) - predictions) / np.maximum(1.0, np.abs(exact).sum(axis=2))
    each = np.where(np.isfinite(off), off, np.inf).max(axis=1)
    return float(each.max()), int(each.argmax())
