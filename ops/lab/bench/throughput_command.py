"""`python -m ops.lab.bench throughput`: an appliance next to bare processes, for chosen models."""

from __future__ import annotations

import argparse

from ops.container.box import IMAGE
from ops.lab.bench import throughput_report
from ops.lab.bench.throughput import ROWS, TURNS, Plan, measure_throughput
from ops.lab.bench.trained import Shape

#: The models that the whole appliance is measured with, beside a choice of one's own.
SHAPES = (Shape(6, 100, 30), Shape(3, 100, 30), Shape(6, 500, 30))


def add_command(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add it, with what `print_throughput` reads."""
    whole = kinds.add_parser("throughput", help="an appliance over HTTP beside bare XGBoost processes")
    whole.add_argument("--rows", type=int, default=ROWS, help="of a turn")
    whole.add_argument("--turns", type=int, default=TURNS)
    whole.add_argument("--clients", type=int, default=1, help="that send their share at one time")
    whole.add_argument(
        "--types", nargs="+", choices=list(throughput_report.TITLES), default=list(throughput_report.TITLES)
    )
    whole.add_argument("--shapes", nargs="+", type=_shape, default=SHAPES, metavar="DEPTHxTREESxFEATURES")
    help_text = "in a container of 512 MB, of make image's"
    whole.add_argument("--container", nargs="?", const=IMAGE, metavar="IMAGE", help=help_text)
    whole.add_argument("--setting", nargs="+", default=[], metavar="NAME=VALUE", help="of the appliance")


def _shape(text: str) -> Shape:
    depth, trees, features = map(int, text.split("x"))
    return Shape(depth, trees, features)


def print_throughput(options: argparse.Namespace) -> None:
    """Print model by model. Raises BenchError, TrialError, DockerError and OSError."""
    settings = dict(each.split("=", 1) for each in options.setting)
    plan = Plan(options.rows, options.types, options.turns, options.clients, options.container, settings)
    where = "in a container of 512 MB" if options.container else "natively"
    print(
        f"{plan.rows:,} rows by {plan.clients} clients, {where}: the median of {plan.turns} turns (lowest-highest).\n"
    )
    print(throughput_report.HEADER, flush=True)
    for measured in measure_throughput(options.shapes, plan):
        print("\n".join(throughput_report.lines(measured)), flush=True)
