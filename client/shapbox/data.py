"""Rows as the numbers that the model sees, to colour plots by, and as labels, to read."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapbox.rows import CSV, NPY, is_frame, is_missing, known, path_type

#: Texts to which the appliance adds an apostrophe in CSV, since a spreadsheet would take them for formulas.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"'*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)

#: Words of CSV for missing values, true and false; in lower case.
_WORDS = {
    **dict.fromkeys(("", "nan", "+nan", "-nan", "na", "n/a", "null", "none", "<na>", "#n/a"), np.nan),
    "true": 1.0,
    "false": 0.0,
}


def data_of(rows: Any, model: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return the members of an Explanation that tell of its rows; none if `rows` is None.

    Rows that cannot be read any more, or are not `count` now, are left out with a warning: their values are computed.
    """
    if rows is None:
        return {}
    try:
        found = read_data(known(rows), model)
    except Exception as fault:  # noqa: BLE001  # no fault of the rows may lose their explanation
        reason = f"{type(fault).__name__}: {fault}"
    else:
        if len(found["data"]) == count:
            return found
        reason = f"there are {len(found['data'])} of them now, and {count} were explained"
    warnings.warn(f"The explanation is without its rows, which cannot be read again: {reason}", stacklevel=2)
    return {}


def read_data(rows: Any, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same of rows as `known` returns them."""
    features = model["contract"]["features"]
    names = [feature["name"] for feature in features]
    columns, coded = _columns(rows, names)
    labels = {place: feature.get("labels") or [] for place, feature in enumerate(features)}
    data = np.column_stack(
        [
            _codes(column, labels[place]) if labels[place] and not coded else _numbers(column)
            for place, column in enumerate(columns)
        ]
    )
    markers = np.array(model["contract"].get("missing") or [], dtype=np.float32)
    numbers = [place for place, names in labels.items() if not names]
    data[:, numbers] = np.where(
        np.isin(data[:, numbers].astype(np.float32), markers), np.nan, data[:, numbers]
    )
    index = rows.index if is_frame(rows) and hasattr(rows, "index") else None
    return {"data": data, "display_data": _with_labels(data, labels), "index": index}


def _columns(rows: Any, names: Sequence[str]) -> tuple[list[Any], bool]:
    """Return the cells of each feature, and whether categories are given as codes."""
    if isinstance(rows, Path):
        rows, media_type = _read_file(rows)
        if media_type == CSV:
            header, *lines = itertools.dropwhile(_is_blank, rows)
            lines = [line for line in lines if len(names) == 1 or not _is_blank(line)]
            find = _finder(header)
            return [[line[find(name)] if line else "" for line in lines] for name in names], False
    if is_frame(rows):
        find = _finder(list(rows.columns))
        pick = rows.iloc.__getitem__ if hasattr(rows, "iloc") else None
        frame = [pick((slice(None), find(name))) if pick else rows.to_series(find(name)) for name in names]
        return [np.asarray(column) for column in frame], False
    if isinstance(rows, np.ndarray):
        return list(rows.T), True
    by_place = [[row[name] for name in names] if isinstance(row, Mapping) else row for row in rows]
    return list(zip(*by_place)), False  # noqa: B905  # the appliance has checked the lengths


def _read_file(path: Path) -> tuple[Any, str]:
    media_type, packed = path_type(path)
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    if media_type == NPY:
        return np.atleast_2d(np.load(io.BytesIO(content), allow_pickle=False)), media_type
    text = content.decode("utf-8-sig")
    if media_type == CSV:
        return list(csv.reader(io.StringIO(text, newline=""))), media_type
    return [json.loads(line) for line in text.split("\n") if line.strip()], media_type


def _is_blank(line: Sequence[str]) -> bool:
    return not line or (len(line) == 1 and not line[0].strip())


def _finder(header: Sequence[Any]) -> Callable[[str], int]:
    """Return a function that finds a feature's column.

    It looks for the exact name first, then for the name as CSV of the appliance has it, or without surrounding space.
    """
    exact = {str(name): place for place, name in enumerate(header)}
    stripped = {name.strip(): place for name, place in exact.items()}

    def find(name: str) -> int:
        for text in (name, _in_csv(name)):
            if text in exact:
                return exact[text]
        return stripped[name.strip()]

    return find


def _in_csv(text: str) -> str:
    """Return a text as the appliance writes it in CSV."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _numbers(column: Any) -> NDArray[np.float64]:
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return column.astype(np.float64)
    return np.array([_number(cell) for cell in column], dtype=np.float64)


def _number(cell: Any) -> float:
    if isinstance(cell, str):
        word = _WORDS.get(cell.strip().lower())
        return float(cell) if word is None else word
    return np.nan if is_missing(cell) else float(cell)


def _codes(column: Any, labels: Sequence[Any]) -> NDArray[np.float64]:
    as_they_are = {str(label): float(code) for code, label in enumerate(labels)}
    codes = {_in_csv(label): code for label, code in as_they_are.items()} | as_they_are
    return np.array([_code(cell, codes) for cell in column], dtype=np.float64)


def _code(cell: Any, codes: Mapping[str, float]) -> float:
    """Return a label's code.

    Whole numbers may come as floats, and texts with spaces around them.
    """
    if not isinstance(cell, str):
        if is_missing(cell):
            return np.nan
        cell = str(int(cell)) if isinstance(cell, (float, np.floating)) and cell == int(cell) else str(cell)
    for text in (cell, cell.strip(), cell.strip().removesuffix(".0")):
        if text in codes:
            return codes[text]
    return np.nan


def _with_labels(
    data: NDArray[np.float64], labels: Mapping[int, Sequence[Any]]
) -> NDArray[np.object_] | None:
    if not any(labels.values()):
        return None
    shown = data.astype(object)
    for place, names in labels.items():
        if names:
            shown[:, place] = [
                names[int(code)] if 0 <= code < len(names) else np.nan for code in data[:, place]
            ]
    return shown
