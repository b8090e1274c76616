"""Reads the matrices that come with a new model: background and example rows, as .npy or as .csv with a header."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from shared.errors import ModelFaultError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: Cells of a CSV that mean "missing", in lower case.
_MISSING = frozenset({"", "na", "nan"})


def read_matrix(path: Path, features: tuple[str, ...]) -> NDArray[np.float32]:
    """Read a file of rows as float32, rows x features, with the columns in the order of `features`.

    A .csv names its columns in any order; a .npy has them in the model's order. Missing values become NaN.
    Raises ModelFaultError, which names the file, the place and the remedy.
    """
    readers = {".csv": _read_csv, ".npy": _read_npy}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ModelFaultError(f"{path} is neither .csv nor .npy. Give a CSV with a header or a NumPy file.")
    try:
        matrix = reader(path, features)
    except OSError as error:
        raise ModelFaultError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from error
    if matrix.ndim != 2 or matrix.shape[1] != len(features) or matrix.shape[0] == 0:
        raise ModelFaultError(
            f"{path} holds an array of shape {matrix.shape}. Give at least one row of {len(features)} columns, "
            f"in this order: {', '.join(features)}."
        )
    return _as_float32(path, matrix)


def _as_float32(path: Path, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        narrow = matrix.astype(np.float32)
    beyond = np.argwhere(np.isinf(narrow))
    if len(beyond):
        row, column = (int(place) for place in beyond[0])
        raise ModelFaultError(
            f"{path} has a number beyond float32 in row {row}, column {column}. Use NaN for what is missing."
        )
    return np.ascontiguousarray(narrow)


def _read_npy(path: Path, _features: tuple[str, ...]) -> NDArray[np.float64]:
    try:
        matrix = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ModelFaultError(
            f"{path} is no .npy file of numbers ({error}). Write it with numpy.save."
        ) from error
    if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "fiub":
        raise ModelFaultError(f"{path} does not hold one array of numbers. Write it with numpy.save.")
    return matrix.astype(np.float64)


def _read_csv(path: Path, features: tuple[str, ...]) -> NDArray[np.float64]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            order = _order_of(path, next(lines, []), features)
            rows = [_numbers(path, index, line, order) for index, line in enumerate(filter(None, lines))]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ModelFaultError(f"{path} is no CSV in UTF-8 ({error}). Export it again.") from error
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(features))


def _order_of(path: Path, header: list[str], features: tuple[str, ...]) -> list[int]:
    """Where in a line each feature stands."""
    names = [name.strip() for name in header]
    lacking = [name for name in features if name not in names]
    unknown = [name for name in names if name not in features]
    twice = sorted({name for name in names if names.count(name) > 1})
    faults = [
        f"{what} {', '.join(columns[:5])}{' …' if len(columns) > 5 else ''}"
        for what, columns in (("lacks", lacking), ("has the unknown", unknown), ("repeats", twice))
        if columns
    ]
    if faults:
        raise ModelFaultError(
            f"{path}'s header {'; '.join(faults)}. Name each of the model's features once: {', '.join(features)}."
        )
    return [names.index(name) for name in features]


def _numbers(path: Path, index: int, line: list[str], order: list[int]) -> list[float]:
    if len(line) != len(order):
        raise ModelFaultError(
            f"{path} has {len(line)} cells in row {index}, not {len(order)}. Mend that line."
        )
    cells = (line[place].strip() for place in order)
    try:
        return [float("nan") if cell.lower() in _MISSING else float(cell) for cell in cells]
    except ValueError as error:
        raise ModelFaultError(
            f"{path}, row {index}: {error}. Give numbers only, empty for missing."
        ) from error
