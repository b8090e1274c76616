"""`python -m ops.bench kernel`: the compiled engine's kernels beside XGBoost, as a table."""

from __future__ import annotations

import argparse
import itertools
import platform
import sys

from ops.bench.kernel_report import header, line
from ops.bench.kernels import measure
from ops.bench.timing import SECONDS
from ops.bench.trained import Shape
from services.worker.lean_xgboost import import_xgboost
from shared.treeshap.library import find_library


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("what", choices=["kernel"])
    for name, default in (("depths", [3, 4, 6, 8, 10]), ("trees", [100, 500]), ("features", [30, 200])):
        parser.add_argument(f"--{name}", type=int, nargs="+", default=default)
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
    kernels = [kernel.name for kernel in library.kernels()]
    print(header(kernels), flush=True)
    shapes = (Shape(*each) for each in itertools.product(options.depths, options.trees, options.features))
    for measured in measure(shapes, library, options.seconds):
        print(line(measured, kernels), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
