"""Small models for the tests of the models command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.engines.lean_xgboost import import_xgboost

type Rows = NDArray[np.float32]


def rows_of(count: int = 60, columns: int = 3, seed: int = 1) -> Rows:
    return np.random.default_rng(seed).normal(size=(count, columns)).astype(np.float32)


def trained(
    names: list[str] | None = None,
    types: list[str] | None = None,
    rounds: int = 2,
    rows: Rows | None = None,
    missing: float = np.nan,
    **params: Any,
) -> Any:
    xgboost = import_xgboost()
    rows = rows_of() if rows is None else rows
    labels = np.arange(len(rows)) % params.get("num_class", 2)
    matrix = xgboost.DMatrix(
        rows,
        labels,
        feature_names=names,
        feature_types=types,
        enable_categorical=True,
        missing=missing,
        nthread=1,
    )
    return xgboost.train({"nthread": 1, "max_depth": 2, "verbosity": 0, **params}, matrix, rounds)


def saved(path: Path, booster: Any) -> Path:
    path.write_bytes(booster.save_raw("json" if path.suffix == ".json" else "ubj"))
    return path


def margins_of(booster: Any, rows: Rows, rounds: int = 0, missing: float = np.nan) -> Rows:
    matrix = import_xgboost().DMatrix(rows, missing=missing, nthread=1)
    margins: Rows = booster.predict(
        matrix, output_margin=True, validate_features=False, iteration_range=(0, rounds)
    )
    return margins
