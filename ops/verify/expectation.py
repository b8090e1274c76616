"""Rows of one model, and what their values must be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ops.lab.reference import reference_contributions
from ops.verify.exactness import Gap, Values, gap_of_sums, gap_of_values
from ops.verify.outcome import FailedError
from ops.verify.plausible_rows import plausible_rows
from ops.verify.served import LocalModels, ServedModel
from shared.errors import ShapboxError

#: The remedy for wrong values.
_REMEDY = (
    "Do not use these values. Roll back to the deploy before, and compare the versions in /version with those that "
    "the models were checked with."
)


@dataclass(frozen=True, slots=True)
class Exactness:
    """A result's exactness: the largest residual, and the largest difference if compared."""

    residual: float
    difference: float | None

    def __str__(self) -> str:
        if self.difference is None:
            compared = "no copy here to compare with"
        else:
            compared = (
                f"XGBoost's own within {self.difference:.0e}" if self.difference else "XGBoost's own exactly"
            )
        return f"sums within {self.residual:.0e}, {compared}"


@dataclass(frozen=True, slots=True)
class Expectation:
    """`wanted` is None without a copy of the model here; `impostor`: the copy is another model."""

    model: ServedModel
    rows: NDArray[np.float32] = field(repr=False)
    wanted: Values | None = field(default=None, repr=False)
    impostor: str | None = None

    @classmethod
    def of(cls, model: ServedModel, local: LocalModels, count: int) -> Self:
        """Make rows for a model and, where a copy of it lies here, XGBoost's own values of them."""
        twin, namesake = local.twin(model), local.namesake(model)
        rows = plausible_rows(model.columns, twin or namesake, count)
        copy = twin or namesake
        if copy is None:
            return cls(model, rows)
        try:
            wanted = Values.of_contributions(reference_contributions(copy.model_path, rows, model.trees))
        except ShapboxError:  # of a kind that XGBoost here cannot load: the sums are checked all the same
            return cls(model, rows)
        return cls(model, rows, wanted, None if twin else str(copy.folder))

    def check(self, result: dict[str, Any]) -> Exactness:
        """Say how exact a JSON result is. Raises FailedError, which names the model."""
        model = self.model
        try:
            given = Values.of(result, len(self.rows), len(model.features), len(model.outputs))
        except (ValueError, KeyError, TypeError) as fault:
            raise FailedError(f"{model.id}: this is no result: {fault!r}.", _REMEDY) from fault
        sums = gap_of_sums(given, model.outputs)
        values = gap_of_values(given, self.wanted, model.features, model.outputs) if self.wanted else None
        if self.impostor:
            raise self._another_model(values)
        wrong = self._faults(sums, values)
        if wrong:
            raise FailedError(
                f"{model.id} gives wrong values: {'; '.join(wrong)}.", _REMEDY, _largest(sums, values)
            )
        return Exactness(sums.size, values.size if values else None)

    def _faults(self, sums: Gap, values: Gap | None) -> list[str]:
        wrong = []
        if not sums.allowed:
            wrong.append(f"base value and values miss the prediction by {sums.size:.1e} ({sums.where})")
        if values and not values.allowed:
            wrong.append(
                f"they differ from XGBoost's own for the same file by up to {values.size:.1e} ({values.where})"
            )
        return wrong

    def _another_model(self, values: Gap | None) -> FailedError:
        differ = f", and the values differ by up to {values.size:.1e} ({values.where})" if values else ""
        return FailedError(
            f"{self.model.id} is not the model that lies in {self.impostor}: the files differ (SHA-256 "
            f"{self.model.sha256[:12]}… is served){differ}.",
            "A version never changes: add the new file as the next version and deploy, or point MODELS_DIR at the "
            "models that should be served.",
            f"differs by {values.size:.0e}" if values else "",
        )


def _largest(sums: Gap, values: Gap | None) -> str:
    differ = f", values off by {values.size:.0e}" if values else ""
    return f"sums off by {sums.size:.0e}{differ}"
