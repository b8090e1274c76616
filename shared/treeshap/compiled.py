"""A compiled model: the arrays that the kernels read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap.layout import NODE, TREE


@dataclass(frozen=True, slots=True)
class Compiled:
    """Arrays as native/treeshap.h's `model` names them, all read-only to the kernels.

    `features` counts what rows have, `columns` lists those that the model uses. The trees of each output lie in
    one piece, from `first_tree[output]` on. `start` is the margin before the first tree.
    """

    features: int
    columns: NDArray[np.int32]
    first_tree: NDArray[np.int32]
    trees: NDArray[Any]
    nodes: NDArray[Any]
    categories: NDArray[np.uint32]
    start: NDArray[np.float32]
    base: NDArray[np.float32]
    tables: NDArray[np.float32]
    factors: NDArray[np.float32]

    @property
    def outputs(self) -> int:
        """How many margins a row has."""
        return len(self.start)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by their names, in the order in which a file holds them."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in DTYPES}


#: The type of each array.
DTYPES: dict[str, np.dtype[Any]] = {
    "columns": np.dtype("<i4"),
    "first_tree": np.dtype("<i4"),
    "trees": TREE,
    "nodes": NODE,
    "categories": np.dtype("<u4"),
    "start": np.dtype("<f4"),
    "base": np.dtype("<f4"),
    "tables": np.dtype("<f4"),
    "factors": np.dtype("<f4"),
}
