"""Reads EXPECTED of --check: what the owner's own model returned, as .npy or .csv."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelFaultError

_NPY = b"\x93NUMPY"
_HOW = "Write numpy.save('expected.npy', model.predict(rows, output_margin=True))."


def read_expected(path: Path, rows: int) -> NDArray[np.float64]:
    """Read numbers for each of `rows` rows, rows x columns; raises ModelFaultError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFaultError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from error
    matrix = _from_npy(path, content) if content.startswith(_NPY) else _from_csv(path, content, rows)
    if matrix.ndim == 1:
        matrix = matrix.reshape(-1, 1)
    if matrix.ndim != 2:
        raise ModelFaultError(
            f"{path} holds an array of shape {matrix.shape}, not one line for each row. {_HOW}"
        )
    if len(matrix) != rows:
        raise ModelFaultError(
            f"{path} has {len(matrix)} lines, and ROWS has {rows}. Give one line for each row."
        )
    if not np.isfinite(matrix).all():
        line, column = np.argwhere(~np.isfinite(matrix))[0]
        raise ModelFaultError(
            f"{path} has {matrix[line, column]} in line {line}, column {column} (counted from 0). {_HOW}"
        )
    return matrix


def _from_npy(path: Path, content: bytes) -> NDArray[np.float64]:
    try:
        matrix = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ModelFaultError(f"{path} is not an .npy file of numbers: {error}. {_HOW}") from error
    if matrix.dtype.kind not in "fiub":
        raise ModelFaultError(f"{path} holds {matrix.dtype}, not numbers. {_HOW}")
    return np.asarray(matrix, np.float64)


def _from_csv(path: Path, content: bytes, rows: int) -> NDArray[np.float64]:
    try:
        lines = [line for line in csv.reader(io.StringIO(content.decode("utf-8-sig"))) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ModelFaultError(f"{path} is neither .npy nor CSV in UTF-8 ({error}). {_HOW}") from error
    if not lines:
        raise ModelFaultError(f"{path} is empty. {_HOW}")
    if not all(map(_is_number, lines[0])) or (len(lines) == rows + 1 and _is_numbered(lines[0])):
        lines = lines[1:]
    if len({len(line) for line in lines}) > 1:
        raise ModelFaultError(f"{path} has lines of different lengths. {_HOW}")
    for index, line in enumerate(lines):
        if wrong := [cell for cell in line if not _is_number(cell)]:
            raise ModelFaultError(
                f"{path} has {wrong[0]!r} in line {index} (counted from 0), not a number. {_HOW}"
            )
    matrix = np.array([[float(cell) for cell in line] for line in lines], np.float64)
    if matrix.ndim == 2 and matrix.shape[1] > 1 and np.array_equal(matrix[:, 0], np.arange(len(matrix))):
        raise ModelFaultError(
            f"{path} begins with an index column. Write it without: to_csv(…, index=False)."
        )
    return matrix


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_numbered(header: list[str]) -> bool:
    """Whether a header is 0, 1, 2, …, as pandas names the columns of an array."""
    return [cell.strip() for cell in header] == [str(index) for index in range(len(header))]
