"""The pairs of features that meet on a path.

Made in memory from the compiled model when interactions are first requested: other requests pay nothing for them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.forest import NotCoveredError
from shared.treeshap.tables import along_paths

#: MB that the places of pairs may take in a process.
PAIR_BUDGET_MB = 16
#: Pairs that a model may have: the kernels hold twelve bytes for each of at least sixteen rows.
MOST_PAIRS = 250_000
#: Numbers that a row's matrices may have: one row of them must be compared with XGBoost's at activation.
MOST_NUMBERS = 1 << 24
#: Bytes of pairs that a block may have, of 16 to 256 rows: a row costs the same while these stay in the caches.
_BLOCK_BYTES = 6 * 2**20
_STEP, _MOST_ROWS = 16, 256
_BYTES_A_PAIR = 12


@dataclass(frozen=True, slots=True)
class Pairs:
    """Arrays as native/treeshap.h's `ts_pair_plan` names them.

    `lower` and `upper` are columns of the rows that the kernels read, `features` the same as features: (pairs, 2).
    """

    first_slot: NDArray[np.int64]
    slots: NDArray[np.int32]
    lower: NDArray[np.int32]
    upper: NDArray[np.int32]
    features: NDArray[np.int32]

    @property
    def count(self) -> int:
        """How many pairs there are."""
        return len(self.lower)

    @property
    def megabytes(self) -> float:
        """How much memory the arrays take."""
        arrays: list[NDArray[Any]] = [getattr(self, field.name) for field in fields(self)]
        return sum(array.nbytes for array in arrays) / 1e6

    @property
    def block(self) -> int:
        """How many rows the kernels should take together."""
        rows = _BLOCK_BYTES // (_BYTES_A_PAIR * max(self.count, 1)) // _STEP * _STEP
        return min(max(rows, _STEP), _MOST_ROWS)


def find_pairs(compiled: Compiled, budget_mb: float = PAIR_BUDGET_MB) -> Pairs:
    """Find the pairs of a path-dependent model. Raises NotCoveredError with the reason."""
    if np.any(compiled.trees["has_tables"] == layout.ONLY_TABLES):
        raise NotCoveredError("interactions against a background are not available")
    if compiled.outputs * (compiled.features + 1) ** 2 > MOST_NUMBERS:
        raise NotCoveredError("it has too many features for interactions")
    nodes = compiled.nodes
    each = nodes["above"].astype(np.int64) - (nodes["flags"] & layout.REPEATED != 0)
    if 4 * int(each.sum()) + 8 * len(nodes) > budget_mb * 1e6:
        raise NotCoveredError(f"its interactions need more than {budget_mb:g} MB beside the model")
    keys = _pair_keys(nodes, len(compiled.columns))
    pairs, slots = np.unique(keys, return_inverse=True)
    if len(pairs) > MOST_PAIRS:
        raise NotCoveredError(f"more than {MOST_PAIRS:,} pairs of its features meet on a path")
    lower, upper = (part.astype(np.int32) for part in np.divmod(pairs, max(len(compiled.columns), 1)))
    return Pairs(
        first_slot=np.concatenate([[0], np.cumsum(each)]).astype(np.int64),
        slots=slots.astype(np.int32),
        lower=lower,
        upper=upper,
        features=np.column_stack([compiled.columns[lower], compiled.columns[upper]]),
    )


def _pair_keys(nodes: NDArray[Any], columns: int) -> NDArray[np.int64]:
    """Return, for each node and other feature of its path, both columns as one number."""
    own = nodes["column"].astype(np.int64)
    paths = along_paths(nodes, own, own)
    places = np.arange(paths.shape[1])
    others = (places < nodes["above"][:, None]) & (places != nodes["bit"][:, None])
    own, found = np.broadcast_to(own[:, None], paths.shape)[others], paths[others]
    keys: NDArray[np.int64] = np.minimum(own, found) * columns + np.maximum(own, found)
    return keys
