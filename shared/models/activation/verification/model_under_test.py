"""The model that activation verifies: loaded, with its trees and trial rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from shared.engines.xgboost_engine import XGBoostEngine
from shared.explanation import Explanation
from shared.models.activation.compilation import start_margins
from shared.models.activation.verification.exact_values import (
    Doubles,
    ExactExplanation,
    Floats,
    exact_interactions,
    exact_values,
)
from shared.models.activation.verification.trial_rows import EXPLAINED_LEAVES, rows_within, trial_rows
from shared.models.contract import Contract
from shared.treeshap.forest import Forest, NotCoveredError, read_forest
from shared.treeshap.library import Library

#: The booster that has weights instead of trees.
LINEAR = "gblinear"


@dataclass(slots=True)
class ModelUnderTest:
    """One version's model. `booster` holds the rounds that its contract uses.

    `forest` is None where its trees cannot be read; `unread` says why.
    """

    contract: Contract
    booster: Any
    predictor: XGBoostEngine
    library: Library | None
    forest: Forest | None
    unread: str
    #: The margins before the first tree: (outputs,).
    start: Floats
    #: The trial rows: (rows, features).
    rows: Floats
    #: XGBoost's explanation of `rows`.
    explanation: Explanation
    #: Rows that a kernel explains at once: more than a block, where there is memory for the result.
    at_once: int
    _exact: dict[int, ExactExplanation] = field(default_factory=dict)

    @classmethod
    def of(cls, contract: Contract, booster: Any, library: Library | None) -> ModelUnderTest:
        """Read a loaded booster. Raises EngineError if XGBoost cannot explain it."""
        predictor = XGBoostEngine(booster, len(contract.outputs))
        forest, unread, start = None, "", np.zeros(len(contract.outputs), dtype=np.float32)
        try:
            forest = read_forest(bytes(booster.save_raw("ubj")))
            start = start_margins(booster, forest)
        except NotCoveredError as reason:
            forest, unread = None, str(reason)
        rows = trial_rows(forest, contract.features, len(contract.outputs))
        rows, at_once = rows[: rows_within(EXPLAINED_LEAVES, forest)], len(rows)
        return cls(
            contract,
            booster,
            predictor,
            library,
            forest,
            unread,
            start,
            rows,
            predictor.explain(rows),
            at_once,
        )

    @property
    def scale(self) -> Floats:
        """The scale of differences, 1 + each row and output's largest number: (rows, outputs, 1)."""
        return np.asarray(1 + np.abs(self.explanation.array).max(axis=2, keepdims=True))

    def exact(self, row: int) -> ExactExplanation | None:
        """Return the explanation of one trial row in float64; None if there is no reference."""
        if row not in self._exact:
            if self.forest is not None:
                self._exact[row] = exact_values(self.forest, self.start, self.rows[row : row + 1])
            elif (linear := self._linear(self.rows[row])) is not None:
                self._exact[row] = linear
        return self._exact.get(row)

    def exact_interactions(self, row: int) -> Doubles | None:
        """Return a trial row's interactions in float64; None where there is no forest."""
        return None if self.forest is None else exact_interactions(self.forest, self.start, self.rows[row])

    def _linear(self, row: Floats) -> ExactExplanation | None:
        """Return a linear model's explanation: weight times value; the base value is XGBoost's."""
        model = orjson.loads(bytes(self.booster.save_raw("json")))["learner"]["gradient_booster"]
        if model["name"] != LINEAR:
            return None
        weights = np.array(model["model"]["weights"], dtype=np.float64).reshape(
            -1, len(self.contract.outputs)
        )
        missing = self.predictor.margins(np.full((1, len(row)), np.nan, dtype=np.float32)).astype(np.float64)
        values = (weights[:-1].T * np.nan_to_num(row.astype(np.float64)))[None]
        return ExactExplanation(values, missing, missing + values.sum(axis=2))
