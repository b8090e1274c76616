"""Which reader reads a request, by its Content-Type."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from services.api.rows.csv_rows import read_csv
from services.api.rows.json_rows import read_json_rows
from services.api.rows.ndjson_rows import read_ndjson
from services.api.rows.npy_rows import read_npy
from services.api.rows.row_spec import RowSpec
from shared.errors import UnsupportedMediaTypeError

#: Names of the encodings in which text is read: UTF-8, and ASCII as its part.
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one media type. With `options_in_body` the options stand beside the rows, else in the query."""

    media_type: str
    read: Callable[[BinaryIO, RowSpec], Iterator[NDArray[np.float32]]]
    options_in_body: bool = False


READERS = (
    Reader("application/json", read_json_rows, options_in_body=True),
    Reader("text/csv", read_csv),
    Reader("application/x-ndjson", read_ndjson),
    Reader("application/x-npy", read_npy),
)


@functools.lru_cache(maxsize=16)
def choose_reader(content_type: str | None) -> Reader:
    """Choose the reader for a Content-Type. Raises UnsupportedMediaTypeError, listing what is read."""
    known = ", ".join(reader.media_type for reader in READERS)
    if not content_type or not content_type.strip():
        raise UnsupportedMediaTypeError(f"There is no Content-Type: send one of {known}.")
    header = Message()
    header["Content-Type"] = content_type.replace("\r", "").replace("\n", "")
    charset = str(header.get_param("charset", "utf-8")).lower()
    for reader in READERS:
        if reader.media_type == content_type.partition(";")[0].strip().lower():
            if charset not in _CHARSETS:
                raise UnsupportedMediaTypeError(f"Text in {charset[:40]!r} is not read here: send UTF-8.")
            return reader
    raise UnsupportedMediaTypeError(f"{content_type[:80]!r} is not read here: send one of {known}.")
