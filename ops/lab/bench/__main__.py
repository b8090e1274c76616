"""`python -m ops.lab.bench [PART …]`: measures the cost of explanations.

All parts are measured by default. `--write` puts all figures into docs/benchmarks.md and docs/benchmarks/.
BENCH_MINUTES bounds the time as `--minutes` does.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping

from ops.lab.bench.engines import measure_engines, measure_interactions, measure_interventional
from ops.lab.bench.report import PAGE, BenchError, Effort, Report, machine_line, write
from ops.lab.bench.service import measure_service
from ops.lab.report import number_from_environment, run_program, table
from shapbox import RefusedError
from shared.treeshap.library import find_library

#: Minutes that all parts may take.
MINUTES = 20.0
#: In the order in which all of them run. Each has its place in docs/benchmarks.md.
PARTS: Mapping[str, Callable[[Effort], Report]] = {
    "engines": measure_engines,
    "interventional": measure_interventional,
    "interactions": measure_interactions,
    "service": measure_service,
}


def main() -> int:
    """Measure and print; return 1 if a value was wrong or a part could not be measured."""
    options, library, began = _options(), find_library(), time.monotonic()

    def say(line: str) -> None:
        print(f"bench: {time.monotonic() - began:5.0f} s  {line}", file=sys.stderr, flush=True)

    if library is None:
        say("the kernels are not built: run make setup where a C compiler is")
        return 1
    effort = Effort(library, say, options.minutes, options.quick, not options.no_peers)
    return run_program("bench", lambda: _measure(options, effort), BenchError, RefusedError)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}")
    minutes = number_from_environment(parser, "BENCH_MINUTES", MINUTES)
    parser.add_argument("--minutes", type=float, default=minutes, help="for all parts together, roughly")
    parser.add_argument("--quick", action="store_true", help="tiny models: to see that it works")
    parser.add_argument("--no-peers", action="store_true", help="ours and XGBoost alone; installs nothing")
    parser.add_argument("--write", action="store_true", help=f"measure all parts, and write docs/{PAGE.name}")
    options = parser.parse_args()
    if {*options.parts} - {*PARTS}:
        parser.error(f"name any of {', '.join(PARTS)}")
    return options


def _measure(options: argparse.Namespace, effort: Effort) -> int:
    reports = {}
    for name in PARTS if options.write else options.parts or PARTS:
        machine = machine_line()
        report = PARTS[name](effort)
        reports[name] = machine, report
        figures = table([report.head, *report.lines])
        print(f"\n## {name}\n\n{machine}\n\n{figures}\n\n{report.shows}", flush=True)
    if options.write:
        write(PAGE, reports)
    wrong = [f"{name}: {each}" for name, (_, report) in reports.items() for each in report.wrong]
    for each in wrong:
        print(f"bench: WRONG VALUES: {each}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
