"""The kernels' shared object: found, loaded, and asked for the fastest kernel that this machine can run."""

from __future__ import annotations

import ctypes
import functools
import sys
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout
from shared.treeshap.compiled import Compiled
from shared.treeshap.pairs import Pairs
from shared.treeshap.tables import rule

#: Where `build` puts it.
LIBRARY = Path(__file__).parent / "native" / "treeshap.so"


class Kernel(IntEnum):
    """The kernels, the slowest first; the numbers are the library's."""

    PORTABLE = 0
    AVX2 = 1
    AVX512 = 2

    @property
    def engine(self) -> str:
        """What /v1/models calls an engine with it."""
        return f"compiled-{self.name.lower()}"


class _Model(ctypes.Structure):
    """native/treeshap.h's `model`."""

    _fields_ = (
        *(
            (name, ctypes.c_void_p)
            for name in ("nodes", "trees", "first_tree", "columns", "tables", "factors")
        ),
        *((name, ctypes.c_void_p) for name in ("categories", "start", "base", "points")),
        *((name, ctypes.c_int32) for name in ("outputs", "used", "features", "levels", "most_nodes")),
    )


class _PairPlan(ctypes.Structure):
    """native/treeshap.h's `pair_plan`."""

    _fields_ = (
        *(
            (name, ctypes.c_void_p)
            for name in ("factors", "first_factor", "first_slot", "slots", "lower", "upper")
        ),
        *((name, ctypes.c_int32) for name in ("pairs", "block", "dense")),
    )


class Library:
    """The loaded object. All of its calls release the GIL."""

    def __init__(self, path: Path) -> None:
        """Load it. Raises OSError if it is not there or not for this machine."""
        self._native = ctypes.CDLL(str(path))
        explain = self._native.treeshap_explain
        explain.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int]
        self._native.treeshap_pairs.argtypes = [ctypes.c_void_p, *explain.argtypes]
        if self._native.treeshap_layout() != layout.NODE.itemsize << 16 | layout.TREE.itemsize:
            raise OSError(f"{path} was built from other sources: build it again")

    def kernels(self) -> list[Kernel]:
        """Return the kernels that this machine can run, the fastest first."""
        return [kernel for kernel in reversed(Kernel) if self._native.treeshap_runs(int(kernel))]

    def explain(
        self, model: _Model, rows: NDArray[np.float32], result: NDArray[np.float32], kernel: Kernel
    ) -> None:
        """Fill `result`, which is zero, for contiguous rows. Raises MemoryError."""
        answer = self._native.treeshap_explain(
            ctypes.byref(model), rows.ctypes.data, len(rows), result.ctypes.data, int(kernel)
        )
        if answer:
            raise MemoryError("no memory for a block of rows")

    def explain_pairs(
        self,
        model: _Model,
        plan: _PairPlan,
        rows: NDArray[np.float32],
        result: NDArray[np.float32],
        kernel: Kernel,
    ) -> None:
        """Fill `result`, which is zero, with interactions, for contiguous rows. Raises MemoryError."""
        answer = self._native.treeshap_pairs(
            *(ctypes.byref(model), ctypes.byref(plan)),
            *(rows.ctypes.data, len(rows), result.ctypes.data, int(kernel)),
        )
        if answer:
            raise MemoryError("no memory for a block of rows")


@functools.cache
def find_library(path: Path = LIBRARY) -> Library | None:
    """Load the library once; None where it was not built or does not run here."""
    if sys.byteorder != "little":
        return None
    try:
        return Library(path)
    except (OSError, AttributeError):
        return None


def native_model(compiled: Compiled) -> _Model:
    """Return what a kernel takes. It points into the arrays, which must outlive it."""
    arrays: dict[str, Any] = {name: array.ctypes.data for name, array in compiled.arrays.items()}
    return _Model(
        **arrays,
        points=rules().ctypes.data,
        outputs=compiled.outputs,
        used=len(compiled.columns),
        features=compiled.features,
        levels=int(compiled.trees["levels"].max(initial=0)),
        most_nodes=int(compiled.trees["nodes"].max(initial=0)),
    )


def native_pairs(pairs: Pairs, *, dense: bool) -> _PairPlan:
    """Return what a kernel takes beside the model. It points into the arrays, which must outlive it."""
    names = ("factors", "first_factor", "first_slot", "slots", "lower", "upper")
    arrays: dict[str, Any] = {name: getattr(pairs, name).ctypes.data for name in names}
    return _PairPlan(**arrays, pairs=pairs.count, block=pairs.block, dense=dense)


@functools.cache
def rules() -> NDArray[np.float64]:
    """Return the quadrature rules by their number of points: t, 1 - t, w and -w / (1 - t) of each."""
    table = np.zeros((layout.MOST_POINTS + 1, 4, layout.MOST_POINTS))
    for points in range(1, layout.MOST_POINTS + 1):
        at, weights = rule(points)
        table[points, :, :points] = at, 1 - at, weights, -weights / (1 - at)
    return table
