"""`python -m ops.bench kernel | interactions | throughput`: the compiled engine's kernels, and the whole appliance, beside XGBoost."""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
from collections.abc import Iterator, Sequence

from ops.bench import throughput_report
from ops.bench.end_to_end import BenchError
from ops.bench.interactions import interaction_lines, measure_interactions
from ops.bench.kernel_report import header, line
from ops.bench.kernels import measure
from ops.bench.throughput import ROWS, TURNS, Plan, measure_throughput
from ops.bench.timing import SECONDS
from ops.bench.trained import Shape
from ops.container.box import IMAGE
from ops.container.engine import DockerError
from ops.trial_appliance import TrialError
from services.worker.lean_xgboost import import_xgboost
from shared.treeshap.library import Library, find_library

#: What is measured unless the command says otherwise: depths, trees and features.
KERNEL_SHAPES: dict[str, dict[str, list[int]]] = {
    "kernel": {"depths": [3, 4, 6, 8, 10], "trees": [100, 500], "features": [30, 200]},
    "interactions": {"depths": [3, 4, 6], "trees": [100], "features": [30]},
}

#: The models that the whole appliance is measured with, beside a choice of one's own.
SHAPES = (Shape(6, 100, 30), Shape(3, 100, 30), Shape(6, 500, 30))


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    kinds = parser.add_subparsers(dest="what", required=True)
    for what, sizes in KERNEL_SHAPES.items():
        kernel = kinds.add_parser(what, help=f"the {what.rstrip('s')} kernels beside XGBoost, in one process")
        for name, default in sizes.items():
            kernel.add_argument(f"--{name}", type=int, nargs="+", default=default)
        kernel.add_argument(
            "--seconds", type=float, default=SECONDS, help="for each model and number of rows"
        )
    whole = kinds.add_parser("throughput", help="an appliance over HTTP beside bare XGBoost processes")
    whole.add_argument("--rows", type=int, default=ROWS, help="of a turn")
    whole.add_argument("--turns", type=int, default=TURNS)
    whole.add_argument("--clients", type=int, default=1, help="that send their share at one time")
    whole.add_argument(
        "--types", nargs="+", choices=list(throughput_report.TITLES), default=list(throughput_report.TITLES)
    )
    whole.add_argument("--shapes", nargs="+", type=_shape, default=SHAPES, metavar="DEPTHxTREESxFEATURES")
    whole.add_argument(
        "--container",
        nargs="?",
        const=IMAGE,
        metavar="IMAGE",
        help="in a container of 512 MB, of make image's",
    )
    whole.add_argument("--setting", nargs="+", default=[], metavar="NAME=VALUE", help="of the appliance")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, XGBoost {import_xgboost().__version__}")
    return _throughput(options) if options.what == "throughput" else _kernel(options)


def _shape(text: str) -> Shape:
    depth, trees, features = map(int, text.split("x"))
    return Shape(depth, trees, features)


def _kernel(options: argparse.Namespace) -> int:
    library = find_library()
    if library is None:
        sys.stderr.write("bench: the kernels are not built: run make setup where a C compiler is\n")
        return 1
    print(
        "µs a row in calls of 500 rows, and of a single one, one thread: the median of all turns (a tenth below, above).\n"
    )
    sizes = itertools.product(options.depths, options.trees, options.features)
    shapes = [Shape(*each) for each in sizes]
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


def _throughput(options: argparse.Namespace) -> int:
    settings = dict(each.split("=", 1) for each in options.setting)
    plan = Plan(options.rows, options.types, options.turns, options.clients, options.container, settings)
    where = "in a container of 512 MB" if options.container else "natively"
    print(
        f"{plan.rows:,} rows by {plan.clients} clients, {where}: the median of {plan.turns} turns (lowest-highest).\n"
    )
    print(throughput_report.HEADER, flush=True)
    try:
        for measured in measure_throughput(options.shapes, plan):
            print("\n".join(throughput_report.lines(measured)), flush=True)
    except (BenchError, TrialError, DockerError, OSError) as fault:
        sys.stderr.write(f"bench: {fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
