"""Features, and bodies of every format read by their readers."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from services.api.rows.csv_rows import read_csv
from services.api.rows.json_rows import read_ndjson
from services.api.rows.npy_rows import read_npy
from services.api.rows.request_body import RequestBody
from services.api.rows.row_spec import RowSpec
from shared.errors import InvalidRowsError, ShapboxError
from shared.models.contract import Feature, Kind, Label

type Floats = NDArray[np.float32]


def numbers(*names: str) -> tuple[Feature, ...]:
    """Return features that are numbers."""
    return tuple(map(Feature, names))


def category(name: str, *labels: Label) -> Feature:
    """Return a category; without labels it takes codes."""
    return Feature(name, Kind.CATEGORY, labels)


def read_json(stream: BinaryIO, spec: RowSpec) -> Iterator[Floats]:
    """Read options, then rows, as the api does: a small plain body at once."""
    with RequestBody(stream, "application/json", None, 10**9) as body:
        _ = body.options
        yield from body.chunks(spec)


READERS: dict[str, Callable[[BinaryIO, RowSpec], Iterator[Floats]]] = {
    "csv": read_csv,
    "json": read_json,
    "ndjson": read_ndjson,
    "npy": read_npy,
}
SPEC = RowSpec(numbers("age", "sex", "bmi"), chunk_rows=2, max_rows=100)


def read(form: str, body: bytes | str, spec: RowSpec = SPEC) -> Floats:
    """Return all rows of a body of this format."""
    data = body.encode() if isinstance(body, str) else body
    rows = np.concatenate(list(READERS[form](io.BytesIO(data), spec)))
    assert rows.dtype == np.float32
    return rows


def refusal[Refusal: ShapboxError](
    error: type[Refusal], form: str, body: bytes | str, spec: RowSpec
) -> Refusal:
    """Return the refusal of a body."""
    try:
        rows = read(form, body, spec)
    except error as fault:
        return fault
    raise AssertionError(f"{body[:200]!r} was read as {rows}")


def invalid(form: str, body: bytes | str, spec: RowSpec = SPEC) -> InvalidRowsError:
    """Return the refusal of a body with invalid rows."""
    return refusal(InvalidRowsError, form, body, spec)


def npy(array: Any, version: tuple[int, int] | None = None, *, pickled: bool = False) -> bytes:
    """Return the bytes of a .npy file."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # numpy warns that old readers know no version 2 and 3
        np.lib.format.write_array(file, np.asanyarray(array), version=version, allow_pickle=pickled)
    return file.getvalue()


def npy_header(header: str, length: int | None = None) -> bytes:
    """Return a .npy file that ends after this header."""
    text = header.encode()
    return b"\x93NUMPY\x02\x00" + (len(text) if length is None else length).to_bytes(4, "little") + text


def shape_header(shape: str, descr: str = "'<f4'") -> bytes:
    """Return a .npy file without data of this shape."""
    return npy_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}")
