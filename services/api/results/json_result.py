"""A result as one JSON object that loads straight into shap.Explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import orjson

from services.api.results.number_texts import dump_items, squeeze_outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from services.api.results.result_pages import ResultPages

#: Base values and margins kept from the first pass, at most; for more, the blocks are read again.
_KEPT_NUMBERS = 262_144


def write_json(result: ResultPages) -> Iterator[bytes]:
    """Write `values` (rows x features, or rows x features x outputs), `base_values` and `predictions`.

    NaN becomes null. The blocks are read once for a small result, three times for a large one, and never
    held.
    """
    yield from write_members(result)
    yield b"}"


def write_members(result: ResultPages) -> Iterator[bytes]:
    """Write the same without the object's end, so that members may follow."""
    outputs = len(result.output_names)
    kept: list[NDArray[np.float32]] | None = [] if 2 * result.rows * outputs <= _KEPT_NUMBERS else None
    yield _write_head(result) + b',"values":['
    yield from _join(_arrange_values(block, outputs) for block in _keep_sums(result.blocks(), kept))
    for name, place in (("base_values", 0), ("predictions", 1)):
        yield b'],"%b":[' % name.encode()
        sums = kept if kept is not None else (block[:, :, -2:] for block in result.blocks())
        yield from _join(squeeze_outputs(block[:, :, place], outputs) for block in sums)
    yield b"]"


def _write_head(result: ResultPages) -> bytes:
    return orjson.dumps(
        {
            "job": result.job_id,
            "model": result.model,
            "method": result.method,
            "feature_names": list(result.feature_names),
            "output_names": list(result.output_names),
        }
    )[:-1]


def _arrange_values(block: NDArray[np.float32], outputs: int) -> NDArray[np.float32]:
    values = block[:, :, :-2]
    return values[:, 0] if outputs == 1 else values.transpose(0, 2, 1)


def _keep_sums(
    blocks: Iterable[NDArray[np.float32]], kept: list[NDArray[np.float32]] | None
) -> Iterator[NDArray[np.float32]]:
    for block in blocks:
        if kept is not None:
            kept.append(block[:, :, -2:].copy())
        yield block


def _join(arrays: Iterable[NDArray[np.float32]]) -> Iterator[bytes]:
    separator = b""
    for array in arrays:
        if len(array):
            yield separator + dump_items(array)
            separator = b","
