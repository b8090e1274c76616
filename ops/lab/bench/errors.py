"""How far each kernel, and XGBoost, is from the values in float64 at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ops.lab.bench.engines import CONTRIBUTIONS
from ops.lab.bench.tables import table
from ops.lab.bench.trained import Shape, kept
from ops.lab.bench.truth import exact_values
from shared.engines.lean_xgboost import THREADS
from shared.engines.xgboost_engine import XGBoostEngine
from shared.models.activation.compilation import compile_booster
from shared.treeshap.explainer import Explainer
from shared.treeshap.library import Library

#: The models: the truth of 500 trees of depth 10 takes minutes, and tells nothing that 100 do not.
SHAPES = [Shape(depth, 100, 30) for depth in (3, 4, 6, 8, 10)] + [Shape(6, 500, 30), Shape(6, 100, 200)]
#: Rows that are compared.
ROWS = 50


@dataclass(frozen=True, slots=True)
class Errors:
    """One model: the largest of its values, and each way's largest error, absolutely."""

    shape: Shape
    largest: float
    error: Mapping[str, float]

    @property
    def ours_no_worse(self) -> bool:
        """Whether no kernel's error is larger than XGBoost's."""
        return max(self.error.values()) <= self.error[CONTRIBUTIONS]


def measure_errors(
    library: Library, say: Callable[[str], None], shapes: Sequence[Shape] = SHAPES, rows: int = ROWS
) -> Iterator[Errors]:
    """Compare model by model."""
    for shape in shapes:
        say(f"{shape}: the values in float64 of {rows} rows")
        booster, all_rows = kept(shape)
        booster.set_param({"nthread": THREADS})
        some = np.ascontiguousarray(all_rows[:rows])
        truth = exact_values(booster, some)
        compiled = compile_booster(booster)
        found = {CONTRIBUTIONS: XGBoostEngine(booster, compiled.outputs).contributions(some)[:, 0, :-1]}
        for kernel in library.kernels():
            found[kernel.engine] = Explainer(compiled, library, kernel).explain(some).values[:, 0]
        apart = {name: float(np.abs(values - truth).max()) for name, values in found.items()}
        yield Errors(shape, float(np.abs(truth).max()), apart)


def error_table(errors: Sequence[Errors]) -> str:
    """Return the table, and where a kernel's error is larger than XGBoost's."""
    names = list(errors[0].error)
    head = ["model", "largest value", "XGBoost", *names[1:]]
    lines = [
        [str(each.shape), f"{each.largest:.3g}", *(f"{each.error[name]:.1e}" for name in names)]
        for each in errors
    ]
    worse = [str(each.shape) for each in errors if not each.ours_no_worse]
    said = (
        f"Larger than XGBoost's: {'; '.join(worse)}."
        if worse
        else "No kernel's error is larger than XGBoost's."
    )
    return f"{table(head, lines)}\n\n{said}"
