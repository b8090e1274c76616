"""A result as an NPY file of float32, laid out as XGBoost does."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np

from services.api.results.result import Result


def write_npy(result: Result) -> Iterator[bytes]:
    """Write rows x outputs x (features + 1), the base value last, or matrices of interactions.

    The axis of outputs is left out for a model with one output.
    """
    yield _header(result)
    yield from _write_rows(result)


def _write_rows(result: Result) -> Iterator[bytes]:
    if result.with_interactions is not None:
        for span in result.with_interactions.spans():
            yield span.astype("<f4", copy=False).tobytes()
        return
    for block in result.explanations():
        yield block.contributions.astype("<f4", copy=False).tobytes()


def seek_npy(result: Result, position: int) -> tuple[Iterator[bytes], int]:
    """Return the bytes of `write_npy` from a place at or before `position` on, and the place.

    Rows before it are not read.
    """
    header, row_bytes = len(_header(result)), 4 * int(np.prod(_shape(result)[1:], dtype=np.int64))
    if position < header:
        return write_npy(result), 0
    rows = (position - header) // row_bytes
    return _write_rows(result.after(rows)), header + rows * row_bytes


def measure_npy(result: Result) -> int:
    """Return the number of bytes that `write_npy` will write."""
    return len(_header(result)) + 4 * int(np.prod(_shape(result), dtype=np.int64))


def _shape(result: Result) -> tuple[int, ...]:
    features, outputs = len(result.feature_names), len(result.output_names)
    shape: tuple[int, ...] = (result.rows, outputs, features + 1)
    if result.with_interactions is not None:
        shape = result.with_interactions.interactions.shape(result.rows, features, outputs)
    return (shape[0], *shape[2:]) if outputs == 1 else shape


def _header(result: Result) -> bytes:
    header = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": _shape(result)}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()
