"""`python -m ops.bench kernel`: the compiled engine's kernels beside XGBoost alone, with options for which models."""

from __future__ import annotations

import argparse
import itertools

from ops.bench.kernel_report import header, line
from ops.bench.kernels import measure
from ops.bench.machine import machine_line
from ops.bench.timing import SECONDS
from ops.bench.trained import Shape
from shared.treeshap.library import Library


def add_kernel_options(parser: argparse.ArgumentParser) -> None:
    """Add what `print_kernel_table` reads."""
    group = parser.add_argument_group("for kernel")
    for name, default in (("depths", [3, 4, 6, 8, 10]), ("trees", [100, 500]), ("features", [30, 200])):
        group.add_argument(f"--{name}", type=int, nargs="+", default=default)
    group.add_argument("--seconds", type=float, default=SECONDS, help="for each model and number of rows")


def print_kernel_table(library: Library, options: argparse.Namespace) -> None:
    """Print line by line, as soon as each is measured."""
    print(f"{machine_line()} One thread.")
    print(
        "µs a row in calls of 500 rows, and of a single one: the median of all turns (a tenth below, above).\n"
    )
    kernels = [kernel.name for kernel in library.kernels()]
    print(header(kernels), flush=True)
    shapes = (Shape(*each) for each in itertools.product(options.depths, options.trees, options.features))
    for measured in measure(shapes, library, options.seconds):
        print(line(measured, kernels), flush=True)
