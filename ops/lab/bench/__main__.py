"""`python -m ops.lab.bench [PART …]`: measures the cost of explanations; all parts by default.

`--write` puts the tables into docs/benchmarks.md. BENCH_MINUTES bounds the time as `--minutes` does. Beside the parts there are
`kernel`, `interactions` and `throughput`, which measure less, and by models of one's choice: `python -m ops.lab.bench kernel --help`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from ops.container.engine import DockerError
from ops.lab.bench.end_to_end import BenchError
from ops.lab.bench.kernel_table import SIZES, add_commands, print_table
from ops.lab.bench.machine import machine_line
from ops.lab.bench.page import PAGE, PageError, insert
from ops.lab.bench.parts import MINUTES, PARTS, Effort
from ops.lab.bench.throughput_command import add_command, print_throughput
from ops.lab.bench.wire import WireError
from ops.lab.trial_appliance import TrialError
from shared.treeshap.library import Library, find_library

#: Parts with options of their own, and the options of parts.
COMMANDS = (*SIZES, "throughput")
PART_OPTIONS = ("--minutes", "--quick", "--no-peers", "--write")


def main() -> int:
    """Measure and print; return 1 if a value was wrong or a part could not be measured."""
    # `interactions` is both: among parts, or with an option of theirs, it is one of them.
    alone = sys.argv[1:2] and sys.argv[1] in COMMANDS and not {*sys.argv[2:]} & {*PART_OPTIONS, *PARTS}
    options = _command_options() if alone else _options()
    library = find_library()
    if library is None:
        sys.stderr.write("bench: the kernels are not built: run make setup where a C compiler is\n")
        return 1
    try:
        if not alone:
            effort = Effort(options.minutes, options.quick, not options.no_peers)
            return _measure(options.parts or list(PARTS), effort, library, write=options.write)
        if options.what == "throughput":
            print_throughput(options)
        else:
            print_table(library, options)
    except (PageError, BenchError, TrialError, WireError, DockerError, OSError) as fault:
        sys.stderr.write(f"bench: {fault}\n")
        return 1
    return 0


def _command_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench")
    kinds = parser.add_subparsers(dest="what", required=True)
    add_commands(kinds)
    add_command(kinds)
    return parser.parse_args()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}")
    minutes = float(os.environ.get("BENCH_MINUTES") or MINUTES)
    parser.add_argument("--minutes", type=float, default=minutes, help="for all parts together, roughly")
    parser.add_argument("--quick", action="store_true", help="tiny models: to see that it works")
    parser.add_argument("--no-peers", action="store_true", help="ours and XGBoost alone; installs nothing")
    parser.add_argument("--write", action="store_true", help=f"put the tables into docs/{PAGE.name}")
    options = parser.parse_args()
    if {*options.parts} - {*PARTS}:
        parser.error(
            f"name any of {', '.join(PARTS)}, or one of {', '.join(COMMANDS)} with options of its own"
        )
    return options


def _measure(parts: Sequence[str], effort: Effort, library: Library, *, write: bool) -> int:
    began, wrong = time.monotonic(), []

    def say(line: str) -> None:
        sys.stderr.write(f"bench: {time.monotonic() - began:5.0f} s  {line}\n")
        sys.stderr.flush()

    for name in parts:
        machine = machine_line()
        measured = PARTS[name](effort, library, say)
        wrong += [f"{name}: {each}" for each in measured.wrong]
        text = f"{machine}\n\n{measured.text}"
        print(f"\n## {name}\n\n{text}", flush=True)
        if write:
            insert(PAGE, name, text)
    for each in wrong:
        sys.stderr.write(f"bench: WRONG VALUES: {each}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
