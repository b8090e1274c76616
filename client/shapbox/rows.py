"""Rows of every kind as a request's body."""

from __future__ import annotations

import decimal
import functools
import importlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapbox.errors import RowsError
from shapbox.exchange import Body

CSV, NDJSON, NPY = "text/csv", "application/x-ndjson", "application/x-npy"
#: The media types of files, by the end of their names. Results can be saved in the same ones.
FILE_TYPES = {".csv": CSV, ".ndjson": NDJSON, ".jsonl": NDJSON, ".npy": NPY}
#: Rows that are turned into bytes at a time.
_CHUNK_ROWS = 10_000
#: Bytes of a file that are read at a time.
_CHUNK_BYTES = 256 * 1024
_INDEX_COLUMN = re.compile(r"__index_level_\d+__")


def known(rows: Any) -> Any:
    """Return rows in one of four forms.

    These are a path, a DataFrame, a two-dimensional array and a list of rows.
    """
    if isinstance(rows, (str, os.PathLike)):
        path = Path(rows)
        return _read_parquet(path) if path.suffix.lower() == ".parquet" else path
    if is_frame(rows):
        return rows
    if isinstance(rows, np.ndarray):
        return _array_rows(rows)
    if isinstance(rows, Mapping):
        columns = list(rows.values())
        if columns and all(_is_list(column) for column in columns):
            if len({len(column) for column in columns}) > 1:
                raise RowsError("The columns have different numbers of rows.")
            return [dict(zip(rows, row)) for row in zip(*columns)]  # noqa: B905  # 3.10 has no better way
        return [rows]
    if _is_list(rows):
        rows = list(rows)
        return rows if not rows or isinstance(rows[0], Mapping) or _is_list(rows[0]) else [rows]
    raise RowsError(
        f"Rows cannot be read from {type(rows).__name__}: give a DataFrame, an array, a list of rows, a dict or a path."
    )


def _array_rows(rows: NDArray[Any]) -> Any:
    if rows.ndim not in {1, 2}:
        raise RowsError(f"An array of rows has two dimensions; this one has {rows.ndim}.")
    if rows.dtype.kind in "mM":
        raise RowsError("This is an array of dates or durations: send numbers, as in the training data.")
    numeric = rows.dtype.kind in "fiub"
    if isinstance(rows, np.ma.MaskedArray):  # a masked cell has some number beneath
        missing: Any = np.nan if numeric else None
        rows = np.where(np.ma.getmaskarray(rows), missing, np.ma.getdata(rows))
    matrix = np.atleast_2d(rows)
    return matrix if numeric else matrix.tolist()


def body_of(rows: Any) -> Body:
    """Return the body for rows as `known` returns them."""
    if isinstance(rows, Path):
        return _file_body(rows)
    if is_frame(rows):
        write = _pandas_csv if hasattr(rows, "to_csv") else _polars_csv
        return _text_body(CSV, len(rows), functools.partial(write, rows))
    if isinstance(rows, np.ndarray):
        return _npy_body(rows)
    return _text_body(NDJSON, len(rows), functools.partial(_ndjson, rows))


def is_frame(rows: Any) -> bool:
    """Return whether rows are a DataFrame of pandas or polars."""
    return hasattr(rows, "columns") and (hasattr(rows, "to_csv") or hasattr(rows, "write_csv"))


def path_type(path: Path) -> tuple[str, bool]:
    """Return the media type of a file by its name, and whether it is packed by gzip."""
    packed = path.suffix.lower() == ".gz"
    suffix = (path.with_suffix("") if packed else path).suffix.lower()
    if suffix not in FILE_TYPES:
        raise RowsError(
            f"{path} is of no known type: use {', '.join(FILE_TYPES)}, or Parquet as a DataFrame."
        )
    return FILE_TYPES[suffix], packed


def media_type_of(path: Path) -> str:
    """Return the media type to save a result in, by the file's name."""
    media_type, packed = path_type(path)
    if packed:
        raise RowsError(f"{path}: results are saved unpacked.")
    return media_type


def _is_list(value: Any) -> bool:
    return isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (str, bytes))


def _file_body(path: Path) -> Body:
    media_type, packed = path_type(path)
    try:
        length = path.stat().st_size
    except OSError as fault:
        raise RowsError(f"{path} cannot be read: {fault.strerror}.") from fault

    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    return Body(media_type, chunks, length, "gzip" if packed else None)


def _text_body(media_type: str, rows: int, write: Callable[[int, int], bytes]) -> Body:
    """Return a body whose parts, some rows each, are written when they are sent.

    A short body is written at once.
    """
    if not rows:
        raise RowsError("There are no rows to explain.")
    if rows <= _CHUNK_ROWS:
        content = write(0, rows)
        return Body(media_type, lambda: [content], len(content))

    def chunks() -> Iterator[bytes]:
        for first in range(0, rows, _CHUNK_ROWS):
            yield write(first, first + _CHUNK_ROWS)

    return Body(media_type, chunks)


def _pandas_csv(frame: Any, first: int, stop: int) -> bytes:
    text = frame.iloc[first:stop].to_csv(index=False, header=first == 0, lineterminator="\n")
    return str(text).encode()


def _polars_csv(frame: Any, first: int, stop: int) -> bytes:
    text = frame.slice(first, stop - first).write_csv(include_header=first == 0)
    return str(text).encode()


def _ndjson(rows: Sequence[Any], first: int, stop: int) -> bytes:
    return "".join(json.dumps(row, default=_plain) + "\n" for row in rows[first:stop]).encode()


def _plain(cell: Any) -> Any:
    """Return a cell as a type that JSON knows."""
    dated = isinstance(cell, (np.datetime64, np.timedelta64))  # nanoseconds would become an integer
    if isinstance(cell, Mapping):
        return dict(cell)
    if isinstance(cell, (np.generic, np.ndarray)) and not dated:
        return cell.tolist()
    if isinstance(cell, decimal.Decimal):
        return float(cell)
    if isinstance(cell, Iterable) and not isinstance(cell, (str, bytes)):
        return list(cell)
    if is_missing(cell) or (dated and np.isnat(cell)):
        return None
    raise RowsError(
        f"{cell!r:.80} is a {type(cell).__name__}: send numbers, booleans, labels or None, as in the training data."
    )


def is_missing(cell: Any) -> bool:
    """Return whether a cell is None, NaN, or pandas' NA or NaT."""
    if cell is None or type(cell).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(cell, (float, np.floating)) and bool(np.isnan(cell))


def _npy_body(matrix: NDArray[Any]) -> Body:
    if not matrix.size:
        raise RowsError("There are no rows to explain.")
    fields = {"descr": matrix.dtype.str, "fortran_order": False, "shape": matrix.shape}
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, fields)

    def chunks() -> Iterator[bytes]:
        yield head.getvalue()
        for first in range(0, len(matrix), _CHUNK_ROWS):
            yield matrix[first : first + _CHUNK_ROWS].tobytes()

    return Body(NPY, chunks, len(head.getvalue()) + matrix.nbytes)


def parquet_library() -> str:
    """Return the library that reads and writes Parquet. Raises RowsError if there is none."""
    if find_spec("polars"):
        return "polars"
    if find_spec("pandas") and (find_spec("pyarrow") or find_spec("fastparquet")):
        return "pandas"
    raise RowsError("Parquet needs polars, or pandas with pyarrow: pip install 'shapbox[polars]'.")


def _read_parquet(path: Path) -> Any:
    read = importlib.import_module(parquet_library()).read_parquet
    try:
        frame = read(path)
    except Exception as fault:
        reason = str(fault).partition("\n")[0]
        raise RowsError(f"{path} cannot be read as Parquet: {reason}") from fault
    # pandas writes an index without a name as a column, which polars reads.
    return frame[[name for name in frame.columns if not _INDEX_COLUMN.fullmatch(str(name))]]
