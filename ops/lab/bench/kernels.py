"""The compiled kernels against XGBoost's contributions and predictions, one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ops.lab.bench.timing import Timing, take_turns
from ops.lab.bench.trained import Shape, train
from ops.lab.reference import distance
from shared.engines.lean_xgboost import THREADS
from shared.engines.xgboost_engine import XGBoostEngine
from shared.explanation import Matrix
from shared.models.activation.compilation import compile_booster
from shared.treeshap.compiled import Compiled
from shared.treeshap.explainer import Explainer
from shared.treeshap.library import Library

#: Rows of a call: a batch, and a single one.
BATCH, SINGLE = 500, 1
#: XGBoost's own, as they are called in the table.
CONTRIBUTIONS, PREDICTIONS = "XGBoost", "predict"


@dataclass(frozen=True, slots=True)
class Measured:
    """One model's line: seconds by way and rows, and the kernels' difference from XGBoost."""

    shape: Shape
    timings: dict[tuple[str, int], Timing]
    distance: float
    compile_seconds: float
    megabytes: float


def measure(shapes: Iterable[Shape], library: Library, seconds: float) -> Iterator[Measured]:
    """Measure each model with every kernel that this machine can run."""
    for shape in shapes:
        booster, rows = train(shape)
        booster.set_param({"nthread": THREADS})
        began = time.perf_counter()
        compiled = compile_booster(booster)
        compile_seconds = time.perf_counter() - began
        engine = XGBoostEngine(booster, compiled.outputs)
        explainers = {kernel.name: Explainer(compiled, library, kernel) for kernel in library.kernels()}
        timings = {}
        for count in (BATCH, SINGLE):
            ways = _ways(engine, explainers, np.ascontiguousarray(rows[:count]))
            timings.update({(way, count): took for way, took in take_turns(ways, seconds).items()})
        wanted = engine.explain(rows[:BATCH]).array
        apart = max(
            distance(explainer.explain(rows[:BATCH]).array, wanted) for explainer in explainers.values()
        )
        yield Measured(shape, timings, apart, compile_seconds, _megabytes(compiled))


def _ways(
    engine: XGBoostEngine, explainers: dict[str, Explainer], rows: Matrix
) -> dict[str, Callable[[], object]]:
    ways: dict[str, Callable[[], object]] = {
        CONTRIBUTIONS: lambda: engine.contributions(rows),
        PREDICTIONS: lambda: engine.margins(rows),
    }
    for name, explainer in explainers.items():
        ways[name] = partial(explainer.explain, rows)
    return ways


def _megabytes(compiled: Compiled) -> float:
    return sum(array.nbytes for array in compiled.arrays.values()) / 1e6
