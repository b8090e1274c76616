"""A result with its interactions: the same documents with one member more, or the matrices as an NPY file."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from services.api.results.interaction_texts import member_name, row_texts
from services.api.results.json_result import write_members
from services.api.results.ndjson_result import row_members
from services.api.results.npy_result import npy_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.api.results.interaction_pages import InteractionPages


def write_json_with_interactions(result: InteractionPages) -> Iterator[bytes]:
    """Write what `write_json` does, and behind it `interactions` or `pairs`, row by row."""
    yield from write_members(result)
    yield b',"%b":[' % member_name(result).encode()
    separator = b""
    for texts, begins, _ in row_texts(result):
        yield (separator if begins else b"") + b",".join(texts)
        separator = b","
    yield b"]}"


def write_ndjson_with_interactions(result: InteractionPages) -> Iterator[bytes]:
    """Write what `write_ndjson` does, each object with `interactions` or `pairs`."""
    heads = itertools.chain.from_iterable(row_members(result))
    name = b',"%b":' % member_name(result).encode()
    for texts, begins, ends in row_texts(result):
        yield b"".join(
            (b"{" + next(heads) + name if begins else b"") + text + (b"}\n" if ends else b"")
            for text in texts
        )


def write_npy_matrices(result: InteractionPages) -> Iterator[bytes]:
    """Write float32 as Booster.predict(pred_interactions=True) lays it out: the base value in each matrix's corner."""
    yield npy_header(_shape(result))
    for span in result.spans():
        yield span.astype("<f4", copy=False).tobytes()


def measure_npy_matrices(result: InteractionPages) -> int:
    """Count the bytes that `write_npy_matrices` will write."""
    shape = _shape(result)
    return len(npy_header(shape)) + 4 * int(np.prod(shape, dtype=np.int64))


def _shape(result: InteractionPages) -> tuple[int, ...]:
    outputs = len(result.output_names)
    shape = result.interactions.shape(result.rows, len(result.feature_names), outputs)
    return (shape[0], *shape[2:]) if outputs == 1 else shape
