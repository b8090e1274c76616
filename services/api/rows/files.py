"""Rows of a file on disk, read as the rows of a request are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from services.api.rows.csv_rows import read_csv
from services.api.rows.json_rows import read_json_file
from services.api.rows.ndjson_rows import read_ndjson
from services.api.rows.npy_rows import read_npy
from services.api.rows.row_spec import RowSpec
from shared.errors import ModelFaultError, TooManyRowsError, UnprocessableError, UnreadableBodyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from shared.models.contract import Feature

#: How each kind of file is read, by the end of its name.
_READERS: dict[str, Callable[[BinaryIO, RowSpec], Iterator[NDArray[np.float32]]]] = {
    ".csv": read_csv,
    ".npy": read_npy,
    ".json": read_json_file,
    ".ndjson": read_ndjson,
}

#: Rows of a chunk. A file is read whole in the end, so it matters little.
_CHUNK_ROWS = 4096


def read_rows_file(
    path: Path, features: tuple[Feature, ...], missing: tuple[float, ...] = ()
) -> NDArray[np.float32]:
    """Read a file of rows as float32, rows x features, with codes for categories and NaN for missing values.

    A .csv names its columns in any order; a .npy has them in the model's order and holds codes; a .json is an
    array of rows, as `to_json(orient="records")` writes it; a .ndjson has a row on each line. Raises
    ModelFaultError, which names the file, the place and the remedy.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise ModelFaultError(
            f"{path} is not a file of rows. Give one whose name ends in {', '.join(_READERS)}."
        )
    spec = RowSpec(features, _CHUNK_ROWS, sys.maxsize, missing)
    try:
        with path.open("rb") as file:
            return np.concatenate(list(read(file, spec)))
    except OSError as error:
        raise ModelFaultError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from error
    except (UnreadableBodyError, UnprocessableError, TooManyRowsError) as error:
        raise ModelFaultError(f"{path}: {error}") from error
