"""Which reader reads a request, by its Content-Type, or a file, by its name."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import falcon
import numpy as np

from services.api.rows.chunks import Matrix
from services.api.rows.csv_rows import read_csv
from services.api.rows.json_body import read_json_file, read_json_rows
from services.api.rows.json_rows import read_ndjson
from services.api.rows.npy_rows import read_npy
from services.api.rows.row_spec import RowSpec
from shared.errors import (
    ModelFaultError,
    TooManyRowsError,
    UnprocessableError,
    UnreadableBodyError,
    UnsupportedMediaTypeError,
)
from shared.models.contract import Feature

type ReadRows = Callable[[BinaryIO, RowSpec], Iterator[Matrix]]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one media type. `options_in_body`: the options are in the body, else in the query."""

    media_type: str
    read: ReadRows
    options_in_body: bool = False


READERS = (
    Reader("application/json", read_json_rows, options_in_body=True),
    Reader("text/csv", read_csv),
    Reader("application/x-ndjson", read_ndjson),
    Reader("application/x-npy", read_npy),
)

_FILE_READERS: dict[str, ReadRows] = {
    ".csv": read_csv,
    ".npy": read_npy,
    ".json": read_json_file,
    ".ndjson": read_ndjson,
}

#: Names of the encodings in which text is read: UTF-8, and ASCII as its part.
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})

#: Rows of a file's chunk. A file is read whole in the end, so it matters little.
_FILE_CHUNK_ROWS = 4096


@functools.lru_cache(maxsize=16)
def choose_reader(content_type: str | None) -> Reader:
    """Choose the reader for a Content-Type. Raises UnsupportedMediaTypeError with the choices."""
    known = ", ".join(reader.media_type for reader in READERS)
    if not content_type or not content_type.strip():
        raise UnsupportedMediaTypeError(f"The request has no Content-Type: send one of {known}.")
    media_type, parameters = falcon.parse_header(content_type)
    if any(name.startswith("charset*") for name in parameters):  # a charset in pieces
        raise UnsupportedMediaTypeError(
            f"The parameters of the Content-Type {content_type[:80]!r} make no sense: send one of {known}."
        )
    charset = parameters.get("charset", "utf-8").lower()
    for reader in READERS:
        if reader.media_type == media_type.lower():
            if charset not in _CHARSETS:
                raise UnsupportedMediaTypeError(f"Charset {charset[:40]!r} is not supported: send UTF-8.")
            return reader
    raise UnsupportedMediaTypeError(
        f"Content-Type {content_type[:80]!r} is not supported: send one of {known}."
    )


def read_rows_file(path: Path, features: tuple[Feature, ...], missing: tuple[float, ...] = ()) -> Matrix:
    """Read a file of rows as float32, rows x features: codes for categories, NaN for missing.

    A .csv names its columns in any order; a .npy has them in the model's order and holds codes; a .json is an
    array of rows, as `to_json(orient="records")` writes it; a .ndjson has a row on each line. Raises
    ModelFaultError, which names the file, the place and the remedy.
    """
    read = _FILE_READERS.get(path.suffix.lower())
    if read is None:
        raise ModelFaultError(
            f"{path} is not a file of rows. Give one whose name ends in {', '.join(_FILE_READERS)}."
        )
    spec = RowSpec(features, _FILE_CHUNK_ROWS, sys.maxsize, missing)
    try:
        with path.open("rb") as file:
            return np.concatenate(list(read(file, spec)))
    except OSError as error:
        raise ModelFaultError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from error
    except (UnreadableBodyError, UnprocessableError, TooManyRowsError) as error:
        raise ModelFaultError(f"{path}: {error}") from error
