"""The top-k pairs of each row, out of all that were computed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

type Matrix = NDArray[np.float32]

#: Numbers that are computed before some of them are chosen.
_NUMBERS_AT_ONCE = 1 << 20


def put_top_pairs(found: Matrix, features: NDArray[np.int32], result: Matrix) -> None:
    """Write the largest pairs by absolute value into `result`, which is zero, in that order.

    `found` is (rows, outputs, pairs), `features` (pairs, 2), `result` (rows, outputs, count, 3). Of equal values the
    first pair goes first. A pair whose value is 0 leaves zeros.
    """
    count = min(result.shape[2], found.shape[2])
    if not count:
        return
    size = np.abs(found)
    some = np.argpartition(-size, count - 1, axis=2)[:, :, :count]
    some.sort(axis=2)
    order = np.argsort(-np.take_along_axis(size, some, axis=2), axis=2, kind="stable")
    chosen = np.take_along_axis(some, order, axis=2)
    values = np.take_along_axis(found, chosen, axis=2)
    result[:, :, :count, :2] = np.where(values[..., None] != 0, features[chosen], 0)
    result[:, :, :count, 2] = values


def every_pair(features: int) -> NDArray[np.int32]:
    """Return all pairs of different features, the lower one first: (pairs, 2)."""
    return np.column_stack(np.triu_indices(features, 1)).astype(np.int32)


def slices(rows: int, numbers_each: int) -> Iterator[slice]:
    """Cut rows so that the intermediate numbers of each slice stay few."""
    step = max(1, _NUMBERS_AT_ONCE // max(numbers_each, 1))
    for begin in range(0, rows, step):
        yield slice(begin, min(begin + step, rows))
