"""The header of an NPY body, read with distrust: nothing is unpickled, and nothing is allocated on its word."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from services.api.rows.faults import no_rows, quote, too_many_rows
from shared.errors import InvalidRowsError, UnreadableBodyError

if TYPE_CHECKING:
    from services.api.rows.row_spec import RowSpec

_MAGIC = b"\x93NUMPY"

#: Bytes of a header, at most: a plain matrix needs 128.
_MAX_HEADER_BYTES = 10_000

#: Bytes of the header's length, by major version.
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}

#: Floats of 2 to 8 bytes, integers of 1 to 8, and booleans.
_NUMBERS = re.compile(r"[<>|=]?(?:f[248]|[iu][1248]|b1)")

_REMEDY = "write it with np.save"


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """A matrix of numbers, `rows` x the model's features, which lies column by column if it is in Fortran order."""

    dtype: np.dtype[Any]
    rows: int
    fortran_order: bool


def read_npy_header(stream: BinaryIO, spec: RowSpec) -> NpyHeader:
    """Read and check the header; the stream then stands at the first value.

    Raises UnreadableBodyError for what is not an NPY file, InvalidRowsError for an array that is not rows of
    numbers for this model, TooManyRowsError beyond `spec.max_rows`.
    """
    magic = stream.read(len(_MAGIC) + 2)
    if not magic:
        raise UnreadableBodyError("The body is empty: send a file that np.save wrote.")
    if not magic.startswith(_MAGIC) or len(magic) < len(_MAGIC) + 2:
        raise UnreadableBodyError("The body is not an NPY file: send a file that np.save wrote.")
    length_bytes = _LENGTH_BYTES.get(magic[6])
    if length_bytes is None:
        raise UnreadableBodyError(f"NPY version {magic[6]}.{magic[7]} is not known: use 1.0, 2.0 or 3.0.")
    length = int.from_bytes(_read_exactly(stream, length_bytes), "little")
    if length > _MAX_HEADER_BYTES:
        raise UnreadableBodyError(
            f"The NPY header has {length} bytes, more than {_MAX_HEADER_BYTES}: {_REMEDY}."
        )
    fields = _parse(_read_exactly(stream, length), "utf-8" if magic[6] == 3 else "latin-1")
    dtype = _check_dtype(fields["descr"])
    fortran_order = fields["fortran_order"]
    if not isinstance(fortran_order, bool):
        raise UnreadableBodyError(f"The NPY header's fortran_order is neither True nor False: {_REMEDY}.")
    return NpyHeader(dtype, _check_shape(fields["shape"], spec), fortran_order)


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise UnreadableBodyError("The NPY file is cut off in its header: send it again in full.")
    return data


def _parse(header: bytes, encoding: str) -> dict[str, Any]:
    try:
        # Literals only: nothing in it is ever called. The length is bounded above.
        fields = ast.literal_eval(header.decode(encoding).strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as fault:
        raise UnreadableBodyError(f"The NPY header cannot be read: {_REMEDY}.") from fault
    if not isinstance(fields, dict) or fields.keys() != {"descr", "fortran_order", "shape"}:
        raise UnreadableBodyError(
            f"The NPY header lacks descr, fortran_order or shape, or has more: {_REMEDY}."
        )
    return fields


def _check_dtype(descr: object) -> np.dtype[Any]:
    if isinstance(descr, str) and _NUMBERS.fullmatch(descr):
        return np.dtype(descr)
    if isinstance(descr, str) and descr.lstrip("<>|=").startswith("O"):
        raise InvalidRowsError(
            "The array holds Python objects, which are never unpickled: send numbers, with codes for categories, "
            "as rows.astype(np.float32)."
        )
    what = f"of type {quote(descr)}" if isinstance(descr, str) else "of a structured type"
    raise InvalidRowsError(
        f"The array is {what}: send an array of floats (of at most 64 bits), integers or booleans, with codes for "
        "categories."
    )


def _check_shape(shape: object, spec: RowSpec) -> int:
    if not isinstance(shape, tuple) or any(type(size) is not int or size < 0 for size in shape):
        raise UnreadableBodyError(f"The NPY header's shape {quote(shape)} is not a shape: {_REMEDY}.")
    features = len(spec.features)
    if len(shape) != 2:
        raise InvalidRowsError(
            f"The array has {len(shape)} dimensions, not 2: send rows.reshape(-1, {features}), rows x features."
        )
    rows, columns = shape
    if columns != features:
        raise InvalidRowsError(f"The array has {columns} columns, the model has {features} features.")
    if rows > spec.max_rows:
        raise too_many_rows(spec.max_rows)
    if not rows:
        raise no_rows()
    return int(rows)
