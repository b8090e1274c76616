"""`python -m ops.lab.bench kernel | interactions`: the kernels next to XGBoost alone."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence

from ops.lab.bench.interactions import interaction_lines, measure_interactions
from ops.lab.bench.kernel_report import header, line
from ops.lab.bench.kernels import measure
from ops.lab.bench.machine import machine_line
from ops.lab.bench.timing import SECONDS
from ops.lab.bench.trained import Shape
from shared.treeshap.library import Library

#: The defaults of each: depths, trees and features.
SIZES: Mapping[str, Mapping[str, list[int]]] = {
    "kernel": {"depths": [3, 4, 6, 8, 10], "trees": [100, 500], "features": [30, 200]},
    "interactions": {"depths": [3, 4, 6, 8], "trees": [100], "features": [30]},
}


def add_commands(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the two, with what `print_table` reads."""
    for what, sizes in SIZES.items():
        command = kinds.add_parser(
            what, help=f"the {what.rstrip('s')} kernels beside XGBoost, in one process"
        )
        for name, default in sizes.items():
            command.add_argument(f"--{name}", type=int, nargs="+", default=default)
        command.add_argument(
            "--seconds", type=float, default=SECONDS, help="for each model and number of rows"
        )


def print_table(library: Library, options: argparse.Namespace) -> None:
    """Print line by line, as soon as each is measured."""
    print(f"{machine_line()} One thread.")
    print(
        "µs a row in calls of 500 rows, and of a single one: the median of all turns (a tenth below, above).\n"
    )
    sizes = itertools.product(options.depths, options.trees, options.features)
    shapes = [Shape(*each) for each in sizes]
    lines = _kernel_lines if options.what == "kernel" else _interaction_lines
    for text in lines(shapes, library, options.seconds):
        print(text, flush=True)


def _kernel_lines(shapes: Sequence[Shape], library: Library, seconds: float) -> Iterator[str]:
    kernels = [kernel.name for kernel in library.kernels()]
    yield header(kernels)
    for measured in measure(shapes, library, seconds):
        yield line(measured, kernels)


def _interaction_lines(shapes: Sequence[Shape], library: Library, seconds: float) -> Iterator[str]:
    return interaction_lines(measure_interactions(shapes, library, seconds))
