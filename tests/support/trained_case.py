"""A model with its owner's rows and the expected values, and the training of such models.

The expected values come from XGBoost alone: the margins that the owner's own `predict(output_margin=True)` returns, and `pred_contribs`
with the trees that `predict` uses.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.engines.lean_xgboost import import_xgboost

type Values = NDArray[np.float32]

#: Rows of each case: more than any request that is explained inline.
ROWS = 2_000
FEW = {"verbosity": 0, "nthread": 1, "tree_method": "hist", "max_depth": 4, "eta": 0.3}


@dataclass(frozen=True)
class ModelCase:
    """A model, its owner's rows, and what is right for them.

    `margins` are rows x outputs, `contributions` rows x outputs x (features + 1), the base value last. `margins_of` and `interactions_of` give
    the same for other rows. `options` are those that the model is added with, besides its files. `refused` has a part of the reason
    for each method (or "interactions") that must be refused.
    """

    model: Any
    rows: Any
    margins: Values
    contributions: Values
    margins_of: Callable[[Any], Values]
    interactions_of: Callable[[Any], Values]
    options: tuple[str, ...] = ()
    background: Any = None
    refused: Mapping[str, str] = field(default_factory=dict)

    def codes(self) -> Values:
        """Return the rows as the model sees them: codes for categories, NaN for missing values."""
        return codes_of(self.rows)


def whole_xgboost() -> Any:
    """Return XGBoost with its scikit-learn classes, which a lean import left out."""
    xgboost = import_xgboost()
    if not xgboost.compat.SKLEARN_INSTALLED:
        importlib.reload(xgboost.compat)
        wrappers = importlib.reload(xgboost.sklearn)
        for name in xgboost.__all__:
            setattr(xgboost, name, getattr(wrappers, name, getattr(xgboost, name)))
    return xgboost


def codes_of(rows: Any) -> Values:
    """Return a DataFrame as float32, with codes for categories."""
    columns = []
    for name in rows.columns:
        column = rows[name]
        if hasattr(column, "cat"):
            codes = column.cat.codes.to_numpy(np.float32)
            columns.append(np.where(codes < 0, np.float32(np.nan), codes))
        else:
            columns.append(column.to_numpy(np.float32))
    return np.column_stack(columns).astype(np.float32)


def case_of(
    model: Any,
    rows: Any,
    *,
    rounds: int = 0,
    missing: float = np.nan,
    owner: Callable[[Any], Any] | None = None,
    **more: Any,
) -> ModelCase:
    """Ask XGBoost for the expected values; `owner` is the owner's way to margins, if special."""
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    span = {"iteration_range": (0, rounds)}

    def matrix_of(frame: Any) -> Any:
        return import_xgboost().DMatrix(frame, missing=missing, enable_categorical=True, nthread=1)

    def margins_of(frame: Any) -> Values:
        found = owner(frame) if owner else booster.predict(matrix_of(frame), output_margin=True, **span)
        return np.asarray(found, np.float32).reshape(len(frame), -1)

    def interactions_of(frame: Any) -> Values:
        found = booster.predict(matrix_of(frame), pred_interactions=True, **span)
        sides = len(frame.columns) + 1
        return np.asarray(found, np.float32).reshape(len(frame), -1, sides, sides)

    margins = margins_of(rows)
    values = booster.predict(matrix_of(rows), pred_contribs=True, **span)
    return ModelCase(
        model,
        rows,
        margins,
        np.asarray(values, np.float32).reshape(len(rows), margins.shape[1], -1),
        margins_of,
        interactions_of,
        **more,
    )


def number_rows(seed: int, names: list[str], rows: int = ROWS) -> Any:
    import pandas as pd

    numbers = np.random.default_rng(seed).normal(size=(rows, len(names))).astype(np.float32)
    return pd.DataFrame(numbers, columns=names)


def trained(rows: Any, target: Any, rounds: int, missing: float = np.nan, **params: Any) -> Any:
    xgboost = import_xgboost()
    matrix = xgboost.DMatrix(rows, target, missing=missing, enable_categorical=True, nthread=1)
    return xgboost.train({**FEW, **params}, matrix, rounds)


def trained_until_best(rows: Any, target: Any, **params: Any) -> Any:
    """Train on a third of the rows until the rest get no better."""
    xgboost, cut = import_xgboost(), len(rows) // 3
    train, rest = (
        xgboost.DMatrix(rows[some], target[some], nthread=1) for some in (slice(cut), slice(cut, None))
    )
    stopping = {"evals": [(rest, "rest")], "early_stopping_rounds": 8, "verbose_eval": False}
    booster = xgboost.train({**FEW, **params}, train, 150, **stopping)
    assert booster.best_iteration + 1 < booster.num_boosted_rounds()
    return booster


def mixed_rows(seed: int, rows: int = ROWS) -> Any:
    """Return columns with text and number labels, booleans and numbers, some missing."""
    import pandas as pd

    generator = np.random.default_rng(seed)
    homes = generator.choice(["own", "rent", "mortgage", None], rows, p=[0.3, 0.3, 0.3, 0.1])
    terms = pd.Categorical(generator.choice([10, 20, 30, -999], rows))
    return pd.DataFrame(
        {
            "home": pd.Categorical(homes),
            "amount": generator.gamma(2, 1000, rows).round(2),
            "term": pd.Series(terms).mask(generator.random(rows) < 0.05),
            "years": generator.integers(0, 30, rows),
            "insured": generator.random(rows) < 0.4,
        }
    )


def mixed_target(rows: Any) -> Any:
    known = (rows.home == "rent") * 2.0 + (rows.term == 20) * 1.5 - (rows.term == -999) + rows.insured * 0.7
    return known + rows.amount / 5000
