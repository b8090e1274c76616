"""Reads a result in each of its four representations, and says what is wrong with it."""

from __future__ import annotations

import io

import numpy as np
import orjson
from numpy.typing import NDArray

#: How far a value may be from XGBoost's own, relative to the row's largest or 1.
TOLERANCE = 1e-5
#: How far an interventional row's sum may be from XGBoost's margin, relative to it or 1: float32 sums.
SUM_TOLERANCE = 1e-3
#: The representations.
ACCEPTS = ("application/x-npy", "application/json", "text/csv", "application/x-ndjson")

type Matrix = NDArray[np.float32]


def read_result(accept: str, body: bytes, outputs: int) -> Matrix:
    """Return rows x outputs x (features + 1), base value last. Raises ValueError or KeyError."""
    match accept:
        case "application/x-npy":
            values = np.load(io.BytesIO(body), allow_pickle=False)
            return np.asarray(values, dtype=np.float32).reshape(len(values), outputs, -1)
        case "text/csv":
            return _read_csv(body, outputs)
        case "application/json":
            result = orjson.loads(body)
            return _joined(result["values"], result["base_values"], outputs)
        case _:
            rows = [orjson.loads(line) for line in body.splitlines()]
            return _joined([row["values"] for row in rows], [row["base_value"] for row in rows], outputs)


def _read_csv(body: bytes, outputs: int) -> Matrix:
    header, _, _ = body.partition(b"\r\n")
    named = 1 if outputs > 1 else 0  # the first column then tells the output's name
    columns = range(named, header.count(b","))  # all but the last, which is the prediction
    table = np.loadtxt(
        io.BytesIO(body), dtype=np.float32, delimiter=",", skiprows=1, usecols=columns, ndmin=2
    )
    return table.reshape(-1, outputs, table.shape[1])


def _joined(values: list[object], base_values: list[object], outputs: int) -> Matrix:
    contributions = np.asarray(values, dtype=np.float32).reshape(len(values), -1, outputs).swapaxes(1, 2)
    bases = np.asarray(base_values, dtype=np.float32).reshape(len(values), outputs, 1)
    return np.concatenate([contributions, bases], axis=2)


def fault_in_values(given: Matrix, wanted: Matrix) -> str | None:
    """Compare values with XGBoost's own."""
    if given.shape != wanted.shape:
        return f"the result has the shape {given.shape}, XGBoost's own {wanted.shape}"
    allowed = TOLERANCE * np.maximum(1.0, np.abs(wanted).max(axis=2, keepdims=True))
    return _first_apart(np.abs(given - wanted), allowed)


def fault_in_sums(given: Matrix, wanted: Matrix) -> str | None:
    """Compare what rows add up to with XGBoost's margin, which each method's values must reach."""
    if given.shape != wanted.shape:
        return f"the result has the shape {given.shape} instead of {wanted.shape}"
    margins = wanted.sum(axis=2, dtype=np.float64)
    apart = np.abs(given.sum(axis=2, dtype=np.float64) - margins)
    return _first_apart(apart, SUM_TOLERANCE * np.maximum(1.0, np.abs(margins)))


def _first_apart(apart: NDArray[np.floating], allowed: NDArray[np.floating]) -> str | None:
    wrong = ~(apart <= allowed)  # so that NaN is wrong
    if not wrong.any():
        return None
    place = tuple(int(index) for index in np.argwhere(wrong)[0])
    return f"{int(wrong.sum())} of {wrong.size} values are wrong; at {place} by {apart[place]:.3g}"
