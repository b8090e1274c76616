"""The parts that explain in this process.

They compare our kernels with XGBoost, shap, shapiq and woodelf. All take turns on one core, one thread each. Values are
compared with those in float64, and interactions with XGBoost's.
"""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from ops.lab.bench import libraries
from ops.lab.bench.comparison import Comparison, Explain, Subject
from ops.lab.bench.libraries import Loaded
from ops.lab.bench.models import QUICK_SHAPE, Matrix, Shape, kept
from ops.lab.bench.report import Effort, Report
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
#: Rows whose values, values against a background, and interactions are compared.
COMPARED, BACKGROUND_ROWS, PAIR_ROWS = 5, 2, 20
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
        compiled, took = _timed(compile_booster, booster)
        xgboost, forest = (
            XGBoostEngine(booster, compiled.outputs),
            read_forest(bytes(booster.save_raw("ubj"))),
        )
        subject = Subject(
            [str(shape)],
            rows,
            exact_values(forest, start_margins(booster, forest), rows[:COMPARED]).values[:, 0],
            _kernels(effort, compiled),
            {CONTRIBUTIONS: _xgboosts_values(xgboost)},
            {PREDICTIONS: xgboost.margins},
            f"{took:.1f} s, {sum(array.nbytes for array in compiled.arrays.values()) / 1e6:.1f} MB",
        )
        with one_core(), libraries.loaded(effort, booster, rows, COMPARED, max(PATIENCE, seconds)) as peers:
            comparison.measure(subject, peers, counts, seconds)
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
        tables, took = _timed(against_background, compiled, background)
        trees = read_forest(bytes(booster.save_raw("ubj"))).trees
        some = rows[:BACKGROUND_ROWS]
        wanted = np.array([sum(values_of_tree(tree, row, background) for tree in trees) for row in some])
        labels, kernels = [str(shape), f"{size:,}"], _kernels(effort, tables)
        subject = Subject(labels, rows, wanted, kernels, {}, {}, f"{took:.1f} s")
        patience = BACKGROUND_PATIENCE
        with one_core(), libraries.loaded(effort, booster, rows, len(some), patience, background) as peers:
            comparison.measure(subject, peers, *_few(effort))
    return comparison.report()


def measure_interactions(effort: Effort) -> Report:
    """Measure interactions, which no other library gives exactly and in bearable time."""
    comparison = Comparison(["model"], [PAIRS], "made in, of")
    for shape in (QUICK_SHAPE,) if effort.quick else PAIR_SHAPES:
        effort.say(f"{shape}: interactions")
        booster, rows = kept(shape)
        compiled = compile_booster(booster)
        first, took = _timed(InteractionExplainer, compiled, effort.library)
        theirs = _xgboosts_pairs(XGBoostEngine(booster, compiled.outputs))
        subject = Subject(
            [str(shape)],
            rows,
            theirs(rows[:PAIR_ROWS]),
            _pair_kernels(effort, compiled),
            {PAIRS: theirs},
            {f"{first.kernel.engine}, {TOP_PAIRS} pairs": functools.partial(first.top, count=TOP_PAIRS)},
            f"{took * 1e3:.0f} ms, {first.megabytes:.1f} MB",
        )
        with one_core():
            comparison.measure(subject, Loaded(), *_few(effort))
    return comparison.report()


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process, and those that it starts meanwhile, on the last core that it may use."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _timed[**P, T](make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, float]:
    began = time.perf_counter()
    return make(*args, **kwargs), time.perf_counter() - began


def _kernels(effort: Effort, compiled: Compiled) -> dict[str, Explain]:
    """Return what explains by each kernel that this machine can run, the fastest first."""

    def explains(explainer: Explainer) -> Explain:
        return lambda rows: explainer.explain(rows).values[:, 0]

    kernels = effort.library.kernels()
    return {one.engine: explains(Explainer(compiled, effort.library, one)) for one in kernels}


def _pair_kernels(effort: Effort, compiled: Compiled) -> dict[str, Explain]:
    """Return what makes interactions by each kernel as a worker does, values included."""

    def explains(values: Explainer, pairs: InteractionExplainer) -> Explain:
        return lambda rows: pairs.matrices(rows, values.explain(rows))

    given = [(compiled, effort.library, kernel) for kernel in effort.library.kernels()]
    return {one[2].engine: explains(Explainer(*one), InteractionExplainer(*one)) for one in given}


def _xgboosts_values(xgboost: XGBoostEngine) -> Explain:
    return lambda rows: xgboost.contributions(rows)[:, 0, :-1]


def _xgboosts_pairs(xgboost: XGBoostEngine) -> Explain:
    """Return XGBoost's interactions; what makes values of them does nothing here."""
    return lambda rows: xgboost.interactions(
        rows, Explanation.empty(len(rows), 1, rows.shape[1]), Interactions()
    )


def _few(effort: Effort) -> tuple[Sequence[int], float]:
    """Return the numbers of rows, and the seconds of a line, of all parts but the first."""
    return (QUICK_ROWS, QUICK_SECONDS) if effort.quick else (FEW_ROWS, LINE_SECONDS)


def _as_many(rows: Matrix, count: int) -> Matrix:
    """Return so many different rows: those there are, over and over, moved a little each time."""
    times = -(-count // len(rows))
    return np.concatenate([rows + np.float32(0.001 * i) for i in range(times)])[:count]
