"""A result as an NPY file, laid out as Booster.predict(pred_contribs=True) lays it out."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from services.api.results.number_texts import squeeze_outputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.api.results.result_pages import ResultPages


def write_npy(result: ResultPages) -> Iterator[bytes]:
    """Write float32 rows x (features + 1), or rows x outputs x (features + 1), the base value last."""
    yield npy_header(_shape(result))
    for block in result.blocks():
        contributions = squeeze_outputs(block[:, :, :-1], len(result.output_names))
        yield contributions.astype("<f4", copy=False).tobytes()


def measure_npy(result: ResultPages) -> int:
    """Count the bytes that `write_npy` will write."""
    return len(npy_header(_shape(result))) + 4 * int(np.prod(_shape(result), dtype=np.int64))


def _shape(result: ResultPages) -> tuple[int, ...]:
    columns = len(result.feature_names) + 1
    outputs = len(result.output_names)
    return (result.rows, columns) if outputs == 1 else (result.rows, outputs, columns)


def npy_header(shape: tuple[int, ...]) -> bytes:
    """Write the head of an NPY file of float32."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()
