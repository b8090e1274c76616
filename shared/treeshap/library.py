"""Loads the kernels' shared object, and tells which kernels this machine can run."""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.treeshap import layout
from shared.treeshap.compiled import DTYPES, Compiled
from shared.treeshap.pairs import Pairs
from shared.treeshap.tables import rule

#: Where `build` puts it.
LIBRARY = Path(__file__).parent / "native" / "treeshap.so"


class Kernel(IntEnum):
    """The kernels, the slowest first; the numbers are native/dispatch.c's."""

    PORTABLE = 0
    AVX2 = 1
    AVX512 = 2

    @property
    def engine(self) -> str:
        """The engine's name in /v1/models."""
        return f"compiled-{self.name.lower()}"


class _Model(ctypes.Structure):
    """native/treeshap.h's `ts_model`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in (*DTYPES, "points")),
        *((name, ctypes.c_int32) for name in ("outputs", "used", "features", "levels", "most_nodes")),
    )


class _PairPlan(ctypes.Structure):
    """native/treeshap.h's `ts_pair_plan`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("first_slot", "slots", "lower", "upper")),
        *((name, ctypes.c_int32) for name in ("pairs", "block", "dense")),
    )


class Library:
    """The loaded object. All of its calls release the GIL."""

    def __init__(self, path: Path) -> None:
        """Load it.

        Raises OSError if it is missing, not for this machine, or built from other sources.
        """
        native = ctypes.CDLL(str(path))
        native.treeshap_layout.restype = ctypes.c_int64
        sizes = (layout.NODE.itemsize, layout.TREE.itemsize, ctypes.sizeof(_Model), ctypes.sizeof(_PairPlan))
        if native.treeshap_layout() != int.from_bytes(struct.pack(">4H", *sizes)):
            raise OSError(f"{path} was built from other sources: build it again")
        self._entries = {
            kernel: native[f"treeshap_{kernel.name.lower()}"]
            for kernel in reversed(Kernel)
            if native.treeshap_runs(int(kernel))
        }
        for entry in self._entries.values():
            entry.argtypes = (*[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_void_p)

    def kernels(self) -> list[Kernel]:
        """Return the kernels that this machine can run, the fastest first."""
        return list(self._entries)

    def entry(self, kernel: Kernel) -> Callable[..., int]:
        """Return a kernel's entry: native/treeshap.h's `ts_explain`."""
        return self._entries[kernel]


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
    names = ("first_slot", "slots", "lower", "upper")
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
