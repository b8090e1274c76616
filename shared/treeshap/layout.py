"""The records of native/treeshap.h, and the kernels' limits."""

from __future__ import annotations

import numpy as np

#: Bits that index a table: what the kernels' registers hold.
TABLE_BITS = 6
#: The same for trees that have nothing else (ONLY_TABLES): what a byte holds.
MOST_BITS = 8
#: Floats that a feature's table has at least.
TABLE_ROW = 16
#: Quadrature points that the kernels hold, and so twice as many different features on a path.
MOST_POINTS = 16
#: The numbers of points that the kernels are made for.
POINTS = (1, 2, 3, 4, 5, 6, 8, 12, 16)
#: Floats that a node takes for each point, if they are computed in advance.
FACTORS = 7
MOST_FEATURES = 2 * MOST_POINTS
#: Levels of inner nodes that a tree may have: the kernels recurse.
MOST_LEVELS = 128

DEFAULT_LEFT, CATEGORICAL, REPEATED = 1, 2, 4

#: `has_tables` of a tree that quadrature must not explain: its tables hold something else.
ONLY_TABLES = 2


def _fields(dtype: str, names: str) -> list[tuple[str, str]]:
    return [(name, dtype) for name in names.split()]


NODE = np.dtype(
    [
        *_fields("<f8", "ratio_above left_ratio right_ratio left_share right_share"),
        *_fields("<f4", "threshold"),
        *_fields("<i4", "column left right"),
        *_fields("<f4", "left_value right_value"),
        *_fields("<i4", "table categories words"),
        *_fields("<u2", "level"),
        *_fields("u1", "right_child bit above flags"),
        ("unused", "u1", 6),
    ]
)

TREE = np.dtype(
    [
        *_fields("<i4", "first nodes points has_tables"),
        *_fields("<f4", "leaf"),
        *_fields("<i4", "levels ends_chunk factors"),
    ]
)
