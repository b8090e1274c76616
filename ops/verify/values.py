"""The models that are served, rows to try them with, and the check of their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson

from ops.lab.reference import EXACT, Comparison, Matrix, compare, reference_contributions
from ops.lab.rows import Form, read_result
from ops.verify.report import FailedError
from shared.errors import ShapboxError
from shared.models.catalog import ModelCatalog, faults_in
from shared.models.contract import FORMAT, Contract, Feature, Kind
from shared.models.manifest_reader import read_contract
from shared.models.version import ModelVersion

#: The share of cells that are left out: XGBoost takes what is missing, and so must all before it.
MISSING = 0.03
#: Powers of ten between which a made-up column's numbers lie: nobody says what the features are measured in.
LEAST_POWER, MOST_POWER = -1.0, 3.0
#: The rounds of an older manifest, which does not state them.
_UNKNOWN_TREES = {"used": 0, "total": 0, "reason": "all"}
_REMEDY = (
    "Do not use these values. Roll back to the deploy before, and compare the versions in /version with those that "
    "the models were checked with."
)


def served_contract(document: dict[str, Any]) -> Contract:
    """Read one entry of /v1/models. Raises FailedError for anything else."""
    try:
        stated = document["contract"]
        known = {**stated, "format": FORMAT, "trees": stated["trees"] or _UNKNOWN_TREES}
        contract = read_contract(orjson.dumps(known), Path("/v1/models"))
    except (KeyError, TypeError, ShapboxError) as fault:
        remedy = "See which version runs there: /version."
        raise FailedError(f"/v1/models has a contract that cannot be read: {fault!r}.", remedy) from fault
    return contract if stated["trees"] else replace(contract, trees=None)


def local_versions(folder: Path | None) -> tuple[ModelVersion, ...]:
    """Return the models in a folder; none without it, or if its manifests are broken."""
    try:
        return ModelCatalog.load(folder).versions() if folder else ()
    except ShapboxError:  # what is served is in question, not what lies here
        return ()


def find_copy(model: Contract, versions: Sequence[ModelVersion]) -> ModelVersion | None:
    """Return the copy of a served model, if there is one.

    It is the same file under any name, else the one of the same name and version.
    """
    fitting = [
        one
        for one in versions
        if one.features == model.feature_names
        and len(one.outputs) == len(model.outputs)
        and not faults_in(one.folder)
    ]
    same = [one for one in fitting if one.contract.sha256 == model.sha256]
    return next(iter([*same, *(one for one in fitting if one.id == model.id)]), None)


def plausible_rows(columns: Sequence[Feature], copy: ModelVersion | None, count: int) -> Matrix:
    """Return `count` rows with codes for categories and some missing cells, the same each time.

    They are the copy's examples if it has any, else made up.
    """
    chance = np.random.default_rng(1)
    if copy is not None and copy.examples_path is not None:
        examples = np.load(copy.examples_path, allow_pickle=False).astype(np.float32)
        rows = np.resize(examples, (count, len(columns)))
    else:
        sizes = 10.0 ** chance.uniform(LEAST_POWER, MOST_POWER, len(columns))
        rows = np.asarray(chance.normal(0.5, 1.0, (count, len(columns))) * sizes, dtype=np.float32)
        for place, column in enumerate(columns):
            if column.kind is not Kind.NUMBER:  # of a category without labels, every model knows 0 and 1
                rows[:, place] = chance.integers(0, len(column.labels) or 2, count)
    rows[chance.random(rows.shape) < MISSING] = np.nan
    return rows


@dataclass(frozen=True, slots=True)
class Expectation:
    """Rows of a model, and the values they must have.

    `wanted` is None without a copy of the model here.
    """

    model: Contract
    rows: Matrix = field(repr=False)
    #: (rows, outputs, features + 1), base value last.
    wanted: Matrix | None = field(default=None, repr=False)
    #: The folder of the copy, if it is another model.
    impostor: Path | None = None

    @classmethod
    def of(cls, model: Contract, versions: Sequence[ModelVersion], count: int) -> Self:
        """Make rows for a model and, where a copy of it lies here, XGBoost's own values of them."""
        copy = find_copy(model, versions)
        rows = plausible_rows(model.features, copy, count)
        if copy is None:
            return cls(model, rows)
        try:
            wanted = reference_contributions(copy.model_path, rows, model.trees)
        except ShapboxError:  # of a kind that XGBoost here cannot load: the sums are checked all the same
            return cls(model, rows)
        return cls(model, rows, wanted, None if copy.contract.sha256 == model.sha256 else copy.folder)

    def check(self, body: bytes) -> str:
        """Say how exact a JSON result is.

        Raises FailedError, which names the model and the worst place.
        """
        try:
            given = read_result(Form.JSON, body, len(self.model.outputs))
            # Numbers written from float32 are read as float32: in float64 the digits mean other numbers.
            predictions = np.asarray(orjson.loads(body)["predictions"], np.float32).reshape(given.shape[:2])
            off, row = _worst_sum(given, predictions)
        except (ValueError, KeyError, TypeError) as fault:
            raise FailedError(f"{self.model.id}: this is no result: {fault!r}.", _REMEDY) from fault
        names = [*self.model.feature_names, "base value"]
        found = compare(given, self.wanted, names) if self.wanted is not None else None
        if self.impostor:
            raise self._another_model(found)
        wrong = []
        if not off <= EXACT:
            wrong.append(f"base value and values miss the prediction by {off:.1e} in row {row}")
        if found and found.wrong:
            wrong.append(f"they differ from XGBoost's own for the same file: {found.said}")
        compared = f"XGBoost's own within {found.largest:.0e}" if found else "no copy here to compare with"
        measured = f"sums within {off:.0e}, {compared}"
        if wrong or len(given) != len(self.rows):
            detail = "; ".join(wrong) or f"{len(given)} rows for {len(self.rows)}"
            raise FailedError(f"{self.model.id} gives wrong values: {detail}.", _REMEDY, measured)
        return measured

    def _another_model(self, found: Comparison | None) -> FailedError:
        differ = f", and the values differ: {found.said}" if found and found.wrong else ""
        return FailedError(
            f"{self.model.id} is not the model that lies in {self.impostor}: the files differ (SHA-256 "
            f"{self.model.sha256[:12]}… is served){differ}.",
            "A version never changes: add the new file as the next version and deploy, or point MODELS_DIR at the "
            "models that should be served.",
        )


def _worst_sum(given: Matrix, predictions: Matrix) -> tuple[float, int]:
    """Return the largest difference of a sum from its prediction, and its row.

    It is relative to 1 or the sum of the absolute values, base value included: trees and values are added up in
    float32, and the error of such a sum grows with that.
    """
    exact = given.astype(np.float64)
    off = np.abs(exact.sum(axis=2) - predictions) / np.maximum(1.0, np.abs(exact).sum(axis=2))
    each = np.where(np.isfinite(off), off, np.inf).max(axis=1)
    return float(each.max()), int(each.argmax())
