"""The parts that explain in this process.

They compare our kernels with XGBoost, shap, shapiq and woodelf. All take turns on one core, one thread each. Values are
compared with XGBoost's, or with those in float64.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ops.lab.bench import libraries
from ops.lab.bench.comparison import Comparison, Line
from ops.lab.bench.models import QUICK_SHAPE, Matrix, Shape, kept
from ops.lab.bench.report import Effort, Report, listed
from ops.lab.bench.timing import Way, timed
from ops.lab.reference import EXACT, distance
from shared.engines.xgboost_engine import XGBoostEngine
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.models.activation.compilation import compile_booster, start_margins
from shared.models.activation.verification.exact_interventional import values_of_tree
from shared.models.activation.verification.exact_values import exact_values
from shared.treeshap.compiled import Compiled
from shared.treeshap.explainer import Explainer, InteractionExplainer
from shared.treeshap.forest import read_forest
from shared.treeshap.interventional import against_background

#: XGBoost's own ways, as the tables call them.
CONTRIBUTIONS, PREDICTIONS, PAIRS = "XGBoost `pred_contribs`", "`predict`", "XGBoost `pred_interactions`"
#: The models of each part, and the rows of a call.
ENGINE_SHAPES = tuple(itertools.starmap(Shape, itertools.product((3, 4, 6, 8, 10), (100, 500), (30, 200))))
ENGINE_ROWS, FEW_ROWS, QUICK_ROWS = (1, 500, 100_000), (1, 500), (1, 50)
BACKGROUND_SHAPES, BACKGROUNDS = (Shape(3, 100, 30), Shape(6, 100, 30)), (100, 10_000)
PAIR_SHAPES = tuple(Shape(depth, 100, 30) for depth in (3, 4, 6, 8))
ERROR_SHAPES = (*(Shape(depth, 100, 30) for depth in (3, 4, 6, 8, 10)), Shape(6, 500, 30), Shape(6, 100, 200))
#: Rows whose values are compared: with XGBoost's, and with those in float64, which take longer.
COMPARED, ERROR_ROWS, BACKGROUND_ROWS = 20, 50, 2
#: Pairs of a row where only the top pairs are requested.
TOP_PAIRS = 10
#: Seconds for the turns of a line: the engines' share of the whole time is divided among theirs.
ENGINES_SHARE, LEAST_SECONDS, LINE_SECONDS, QUICK_SECONDS = 0.27, 2.0, 6.0, 0.1
#: Seconds that a library may take for a call before it is given up, at least, and with a background.
PATIENCE, BACKGROUND_PATIENCE = 2.0, 20.0


def measure_engines(effort: Effort) -> Report:
    """Measure path-dependent values beside XGBoost and the other libraries."""
    shapes, counts = ((QUICK_SHAPE,), QUICK_ROWS) if effort.quick else (ENGINE_SHAPES, ENGINE_ROWS)
    usual = max(LEAST_SECONDS, effort.minutes * 60 * ENGINES_SHARE / len(shapes) / len(counts))
    seconds = QUICK_SECONDS if effort.quick else usual
    comparison = Comparison(["model"], [CONTRIBUTIONS, *libraries.NAMES], "compiled in, to")
    for number, shape in enumerate(shapes, 1):
        effort.say(f"{shape} ({number} of {len(shapes)}), trained unless it was")
        booster, rows = kept(shape)
        rows = _as_many(rows, max(counts))
        began = time.perf_counter()
        compiled = compile_booster(booster)
        made = f"{time.perf_counter() - began:.1f} s, {_megabytes(compiled):.1f} MB"
        xgboost, ours = XGBoostEngine(booster, compiled.outputs), _kernels(effort, compiled)
        wanted = xgboost.contributions(rows[:COMPARED])[:, 0, :-1]
        with one_core(), libraries.loaded(effort, booster, rows, COMPARED, max(PATIENCE, seconds)) as peers:
            values = {name: each.explain(rows[:COMPARED]).values[:, 0] for name, each in ours.items()}
            ways = {
                CONTRIBUTIONS: timed(xgboost.contributions, rows),
                PREDICTIONS: timed(xgboost.margins, rows),
                **{name: timed(each.explain, rows) for name, each in ours.items()},
                **peers.ways,
            }
            line = Line([str(shape)], peers.lost, _apart(values | peers.values, wanted), made)
            comparison.measure(line, counts, ways, seconds)
    return comparison.report()


def measure_interventional(effort: Effort) -> Report:
    """Measure values against a background beside the other libraries."""
    shapes, sizes = ((QUICK_SHAPE,), (10,)) if effort.quick else (BACKGROUND_SHAPES, BACKGROUNDS)
    comparison = Comparison(["model", "background"], libraries.NAMES, "tables made in")
    for shape, size in itertools.product(shapes, sizes):
        effort.say(f"{shape}, {size:,} background rows")
        booster, all_rows = kept(shape)
        background, rows = all_rows[:size], all_rows[-max(FEW_ROWS) :]
        compiled = compile_booster(booster)
        began = time.perf_counter()
        ours = _kernels(effort, against_background(compiled, background))
        made = f"{time.perf_counter() - began:.1f} s"
        some = rows[:BACKGROUND_ROWS]
        trees = read_forest(bytes(booster.save_raw("ubj"))).trees
        wanted = np.array([sum(values_of_tree(tree, row, background) for tree in trees) for row in some])
        with (
            one_core(),
            libraries.loaded(effort, booster, rows, len(some), BACKGROUND_PATIENCE, background) as peers,
        ):
            values = {name: each.explain(some).values[:, 0] for name, each in ours.items()}
            ways = {name: timed(each.explain, rows) for name, each in ours.items()} | peers.ways
            line = Line([str(shape), f"{size:,}"], peers.lost, _apart(values | peers.values, wanted), made)
            _measure_few(comparison, line, effort, ways)
    return comparison.report()


def measure_interactions(effort: Effort) -> Report:
    """Measure interactions, which no other library gives exactly and in bearable time."""
    comparison = Comparison(["model"], [PAIRS], "made in, of")
    for shape in (QUICK_SHAPE,) if effort.quick else PAIR_SHAPES:
        effort.say(f"{shape}: interactions")
        booster, rows = kept(shape)
        compiled = compile_booster(booster)
        xgboost, values = XGBoostEngine(booster, compiled.outputs), _kernels(effort, compiled)
        began = time.perf_counter()
        first = InteractionExplainer(compiled, effort.library)
        made = f"{(time.perf_counter() - began) * 1e3:.0f} ms, {first.megabytes:.1f} MB"
        ours = {
            kernel.engine: partial(
                _our_pairs, values[kernel.engine], InteractionExplainer(compiled, effort.library, kernel)
            )
            for kernel in effort.library.kernels()
        }
        wanted = _xgboosts_pairs(xgboost, rows[:COMPARED])
        apart = _apart({name: explain(rows[:COMPARED]) for name, explain in ours.items()}, wanted)
        ways = {PAIRS: timed(partial(_xgboosts_pairs, xgboost), rows)}
        ways |= {name: timed(explain, rows) for name, explain in ours.items()}
        ways[f"{next(iter(ours))}, {TOP_PAIRS} pairs"] = timed(partial(_top_pairs, first), rows)
        with one_core():
            _measure_few(comparison, Line([str(shape)], {}, apart, made), effort, ways)
    return comparison.report()


def measure_errors(effort: Effort) -> Report:
    """Measure how far each kernel, and XGBoost, is from the values in float64 at most."""
    lines, worse, wrong = [], [], []
    largest: dict[str, float] = {}
    for shape in (QUICK_SHAPE,) if effort.quick else ERROR_SHAPES:
        effort.say(f"{shape}: the values in float64 of {ERROR_ROWS} rows")
        booster, rows = kept(shape)
        some, forest = rows[:ERROR_ROWS], read_forest(bytes(booster.save_raw("ubj")))
        truth = exact_values(forest, start_margins(booster, forest), some).values[:, 0]
        compiled = compile_booster(booster)
        found = {"XGBoost": XGBoostEngine(booster, compiled.outputs).contributions(some)[:, 0, :-1]}
        found |= {name: each.explain(some).values[:, 0] for name, each in _kernels(effort, compiled).items()}
        errors = {name: float(np.abs(values - truth).max()) for name, values in found.items()}
        largest = {name: max(error, largest.get(name, 0.0)) for name, error in errors.items()}
        lines.append(
            [str(shape), f"{np.abs(truth).max():.3g}", *(f"{error:.1e}" for error in errors.values())]
        )
        worse += [f"{shape}, {name}" for name, error in errors.items() if error > errors["XGBoost"]]
        apart = _apart(found, truth)
        wrong += [f"{shape}, {name}: {each:.1e} apart" for name, each in apart.items() if not each <= EXACT]
    said = listed("Larger than XGBoost's:", worse, "No kernel's error is larger than XGBoost's.")
    ours = f"{max(error for name, error in largest.items() if name != 'XGBoost'):.1e}"
    summary = [
        f"largest error against float64, {len(lines)} models",
        ours,
        f"XGBoost {largest['XGBoost']:.1e}",
    ]
    return Report(["model", "largest value", *largest], lines, [summary], said, wrong)


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process, and those that it starts meanwhile, on the last core that it may use."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _kernels(effort: Effort, compiled: Compiled) -> dict[str, Explainer]:
    """Return an explainer for each kernel that this machine can run, the fastest first."""
    return {kernel.engine: Explainer(compiled, effort.library, kernel) for kernel in effort.library.kernels()}


def _megabytes(compiled: Compiled) -> float:
    return sum(array.nbytes for array in compiled.arrays.values()) / 1e6


def _our_pairs(values: Explainer, pairs: InteractionExplainer, rows: Matrix) -> Matrix:
    """Return interactions as a worker computes them, values included."""
    return pairs.matrices(rows, values.explain(rows))


def _xgboosts_pairs(xgboost: XGBoostEngine, rows: Matrix) -> Matrix:
    """Return XGBoost's interactions; what makes values of them does nothing here."""
    return xgboost.interactions(rows, Explanation.empty(len(rows), 1, rows.shape[1]), Interactions())


def _top_pairs(pairs: InteractionExplainer, rows: Matrix) -> Matrix:
    return pairs.top(rows, TOP_PAIRS)


def _apart(values: Mapping[str, Matrix], wanted: NDArray[np.floating]) -> dict[str, float]:
    return {name: distance(each, wanted.astype(np.float32)) for name, each in values.items()}


def _measure_few(comparison: Comparison, line: Line, effort: Effort, ways: Mapping[str, Way]) -> None:
    if effort.quick:
        comparison.measure(line, QUICK_ROWS, ways, QUICK_SECONDS)
    else:
        comparison.measure(line, FEW_ROWS, ways, LINE_SECONDS)


def _as_many(rows: Matrix, count: int) -> Matrix:
    """Return so many different rows: those there are, over and over, moved a little each time."""
    times = -(-count // len(rows))
    return np.concatenate([rows + np.float32(0.001 * i) for i in range(times)])[:count]
