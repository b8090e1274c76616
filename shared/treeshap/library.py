"""Loads the kernels' shared object, and tells which kernels this machine can run."""

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
        """The engine's name in /v1/models."""
        return f"compiled-{self.name.lower()}"


def _pointers(*names: str) -> list[tuple[str, type[ctypes.c_void_p]]]:
    return [(name, ctypes.c_void_p) for name in names]


def _numbers(*names: str) -> list[tuple[str, type[ctypes.c_int32]]]:
    return [(name, ctypes.c_int32) for name in names]


class _Model(ctypes.Structure):
    """native/treeshap.h's `ts_model`."""

    _fields_ = (
        *_pointers("nodes", "trees", "first_tree", "columns", "tables", "factors"),
        *_pointers("categories", "start", "base", "points"),
        *_numbers("outputs", "used", "features", "levels", "most_nodes"),
    )


class _PairPlan(ctypes.Structure):
    """native/treeshap.h's `ts_pair_plan`."""

    _fields_ = (
        *_pointers("factors", "first_factor", "first_slot", "slots", "lower", "upper"),
        *_numbers("pairs", "block", "dense"),
    )


class Library:
    """The loaded object. All of its calls release the GIL.

    `explain` and `explain_pairs` are native/dispatch.c's `treeshap_explain` and `treeshap_pairs`.
    """

    def __init__(self, path: Path) -> None:
        """Load it. Raises OSError if it is missing or not for this machine."""
        self._native = ctypes.CDLL(str(path))
        self.explain, self.explain_pairs = self._native.treeshap_explain, self._native.treeshap_pairs
        rows_to_kernel: list[Any] = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int]
        self.explain.argtypes = [ctypes.c_void_p, *rows_to_kernel]
        self.explain_pairs.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *rows_to_kernel]
        if self._native.treeshap_layout() != layout.NODE.itemsize << 16 | layout.TREE.itemsize:
            raise OSError(f"{path} was built from other sources: build it again")

    def kernels(self) -> list[Kernel]:
        """Return the kernels that this machine can run, the fastest first."""
        return [kernel for kernel in reversed(Kernel) if self._native.treeshap_runs(int(kernel))]


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
    """Return the model for a kernel. It points into the arrays, which must outlive it."""
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
    """Return the plan for a kernel. It points into the arrays, which must outlive it."""
    names = ("factors", "first_factor", "first_slot", "slots", "lower", "upper")
    arrays: dict[str, Any] = {name: getattr(pairs, name).ctypes.data for name in names}
    return _PairPlan(**arrays, pairs=pairs.count, block=pairs.block, dense=dense)


@functools.cache
def rules() -> NDArray[np.float64]:
    """Return the quadrature rules by number of points: t, 1 - t, w and -w / (1 - t) of each."""
    table = np.zeros((layout.MOST_POINTS + 1, 4, layout.MOST_POINTS))
    for points in range(1, layout.MOST_POINTS + 1):
        at, weights = rule(points)
        table[points, :, :points] = at, 1 - at, weights, -weights / (1 - at)
    return table
