"""Arrays of float32 as text: JSON numbers that give back the same float32, `null` for NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

if TYPE_CHECKING:
    from numpy.typing import NDArray


def dump_items(array: NDArray[np.float32]) -> bytes:
    """Write the items of the first axis, separated by commas: the JSON array without its own brackets."""
    # orjson takes contiguous arrays only; strides of blocks cut out of a larger array are not.
    return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def split_items(array: NDArray[np.float32]) -> list[bytes]:
    """Write each item of the first axis as JSON of its own. One call for all rows is many times faster."""
    depth = array.ndim - 1
    if depth == 0:
        return dump_items(array).split(b",")
    opened, closed = b"[" * depth, b"]" * depth
    inner = dump_items(array)[depth:-depth]
    return [opened + item + closed for item in inner.split(closed + b"," + opened)]


def squeeze_outputs(array: NDArray[np.float32], outputs: int) -> NDArray[Any]:
    """Drop the axis of outputs (the second) where there is but one."""
    return array[:, 0] if outputs == 1 else array
