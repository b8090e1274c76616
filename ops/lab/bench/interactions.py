"""Interactions by the compiled kernels against XGBoost's `pred_interactions`, one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ops.lab.bench.timing import Timing, take_turns
from ops.lab.bench.trained import Shape, kept
from shared.engines.lean_xgboost import THREADS
from shared.engines.xgboost_engine import XGBoostEngine
from shared.explanation import Matrix
from shared.interactions import Interactions
from shared.models.activation.compilation import compile_booster
from shared.treeshap.explainer import Explainer, InteractionExplainer
from shared.treeshap.library import Library

#: Rows of a call: a batch, and a single one.
BATCH, SINGLE = 500, 1
#: Pairs of a row where only the top pairs are requested.
TOP_PAIRS = 10
#: XGBoost's own, as it is called in the table.
XGBOOST = "XGBoost `pred_interactions`"


@dataclass(frozen=True, slots=True)
class MeasuredInteractions:
    """One model's line: seconds by way and rows, additional memory, largest difference."""

    shape: Shape
    timings: dict[tuple[str, int], Timing]
    distance: float
    made_seconds: float
    megabytes: float


def measure_interactions(
    shapes: Iterable[Shape], library: Library, seconds: float
) -> Iterator[MeasuredInteractions]:
    """Measure each model with every kernel. All ways but XGBoost's include the values."""
    for shape in shapes:
        booster, rows = kept(shape)
        booster.set_param({"nthread": THREADS})
        compiled = compile_booster(booster)
        engine = XGBoostEngine(booster, compiled.outputs)
        began = time.perf_counter()
        pairs = InteractionExplainer(compiled, library)
        made_seconds = time.perf_counter() - began
        kernels = {
            kernel.name: (
                Explainer(compiled, library, kernel),
                InteractionExplainer(compiled, library, kernel),
            )
            for kernel in library.kernels()
        }
        timings = {}
        for count in (BATCH, SINGLE):
            ways = _ways(engine, kernels, np.ascontiguousarray(rows[:count]))
            timings.update({(way, count): took for way, took in take_turns(ways, seconds).items()})
        some = rows[:20]
        wanted = engine.interactions(some, engine.explain(some), Interactions())
        apart = [np.abs(_explain(*both, some) - wanted).max() for both in kernels.values()]
        yield MeasuredInteractions(shape, timings, float(max(apart)), made_seconds, pairs.megabytes)


def interaction_lines(found: Iterable[MeasuredInteractions]) -> Iterator[str]:
    """Return the table in Markdown: µs a row (median, percentiles), and the factor to XGBoost."""
    for number, measured in enumerate(found):
        ways = list(dict.fromkeys(way for way, _ in measured.timings))
        if not number:
            cells = ["model", "rows", *ways, "apart", "made in, of"]
            yield from (_line(cells), _line(["---"] * len(cells)))
        for rows in (BATCH, SINGLE):
            made = f"{measured.made_seconds * 1e3:.0f} ms, {measured.megabytes:.1f} MB"
            figures = [_cell(measured, way, rows) for way in ways]
            yield _line([str(measured.shape), str(rows), *figures, f"{measured.distance:.0e}", made])


def _ways(
    engine: XGBoostEngine, kernels: dict[str, tuple[Explainer, InteractionExplainer]], rows: Matrix
) -> dict[str, Callable[[], object]]:
    values = engine.explain(rows)
    ways: dict[str, Callable[[], object]] = {
        XGBOOST: lambda: engine.interactions(rows, values, Interactions())
    }
    for name, (explainer, pairs) in kernels.items():
        ways[name] = partial(_explain, explainer, pairs, rows)
    fastest = next(iter(kernels))
    ways[f"{fastest}, {TOP_PAIRS} pairs"] = partial(kernels[fastest][1].top, rows, TOP_PAIRS)
    return ways


def _explain(explainer: Explainer, pairs: InteractionExplainer, rows: Matrix) -> Matrix:
    return pairs.matrices(rows, explainer.explain(rows))


def _cell(measured: MeasuredInteractions, way: str, rows: int) -> str:
    timing = measured.timings[way, rows]
    micros = [f"{each / rows * 1e6:.3g}" for each in (timing.median, timing.low, timing.high)]
    times = measured.timings[XGBOOST, rows].median / timing.median
    return f"{micros[0]} ({micros[1]}-{micros[2]})" + (f" **x {times:.3g}**" if way != XGBOOST else "")


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
