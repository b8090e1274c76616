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

NODE = np.dtype(
    [
        ("ratio_above", "<f8"),
        ("left_ratio", "<f8"),
        ("right_ratio", "<f8"),
        ("left_share", "<f8"),
        ("right_share", "<f8"),
        ("threshold", "<f4"),
        ("column", "<i4"),
        ("left", "<i4"),
        ("right", "<i4"),
        ("left_value", "<f4"),
        ("right_value", "<f4"),
        ("table", "<i4"),
        ("categories", "<i4"),
        ("words", "<i4"),
        ("level", "<u2"),
        ("right_child", "u1"),
        ("bit", "u1"),
        ("above", "u1"),
        ("flags", "u1"),
        ("unused", "u1", 6),
    ]
)

TREE = np.dtype(
    [
        ("first", "<i4"),
        ("nodes", "<i4"),
        ("points", "<i4"),
        ("has_tables", "<i4"),
        ("leaf", "<f4"),
        ("levels", "<i4"),
        ("ends_chunk", "<i4"),
        ("factors", "<i4"),
    ]
)
