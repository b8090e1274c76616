"""`python -m ops.bench kernel`, or `interactions`: the compiled engine's kernels beside XGBoost, as a table."""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
from collections.abc import Iterator, Sequence

from ops.bench.interactions import interaction_lines, measure_interactions
from ops.bench.kernel_report import header, line
from ops.bench.kernels import measure
from ops.bench.timing import SECONDS
from ops.bench.trained import Shape
from services.worker.lean_xgboost import import_xgboost
from shared.treeshap.library import Library, find_library

#: What is measured unless the command says otherwise: depths, trees and features.
SHAPES: dict[str, dict[str, list[int]]] = {
    "kernel": {"depths": [3, 4, 6, 8, 10], "trees": [100, 500], "features": [30, 200]},
    "interactions": {"depths": [3, 4, 6], "trees": [100], "features": [30]},
}


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("what", choices=SHAPES)
    for name in ("depths", "trees", "features"):
        parser.add_argument(f"--{name}", type=int, nargs="+")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each model and number of rows")
    options = parser.parse_args()
    library = find_library()
    if library is None:
        sys.stderr.write("bench: the kernels are not built: run make setup where a C compiler is\n")
        return 1
    print(
        f"{platform.processor() or platform.machine()}, XGBoost {import_xgboost().__version__}, one thread."
    )
    print(
        "µs a row in calls of 500 rows, and of a single one: the median of all turns (a tenth below, above).\n"
    )
    sizes = (getattr(options, name) or default for name, default in SHAPES[options.what].items())
    shapes = [Shape(*each) for each in itertools.product(*sizes)]
    lines = _kernel_lines if options.what == "kernel" else _interaction_lines
    for text in lines(shapes, library, options.seconds):
        print(text, flush=True)
    return 0


def _kernel_lines(shapes: Sequence[Shape], library: Library, seconds: float) -> Iterator[str]:
    kernels = [kernel.name for kernel in library.kernels()]
    yield header(kernels)
    for measured in measure(shapes, library, seconds):
        yield line(measured, kernels)


def _interaction_lines(shapes: Sequence[Shape], library: Library, seconds: float) -> Iterator[str]:
    return interaction_lines(measure_interactions(shapes, library, seconds))


if __name__ == "__main__":
    sys.exit(main())
