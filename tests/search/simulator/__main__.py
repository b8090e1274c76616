"""`python -m tests.search.simulator`: runs histories, or one with its trace (--seed N)."""

from __future__ import annotations

import argparse
import os
import sys

from tests.search.simulator.planted import BUGS
from tests.search.simulator.search import print_history, search

#: With it, sets have the same order in each process.
FIXED_ORDER = {"PYTHONHASHSEED": "0"}


def main() -> int:
    """Run the histories that the command line asks for; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description="Simulates jobs, workers and monitors under faults.")
    parser.add_argument("--histories", type=int, default=300, help="how many, from --first on (300)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="run this history only, and print its trace")
    parser.add_argument("--plant", choices=BUGS, help="put this bug into the product first")
    parser.add_argument("--planted", action="store_true", help="see that each such bug is found")
    options = parser.parse_args()
    if options.seed is not None:
        return int(print_history(options.seed, options.plant))
    seeds = range(options.first, options.first + options.histories)
    if options.planted:
        return int(None in [search(seeds, bug) for bug in BUGS])
    return int(search(seeds, options.plant) is not None)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != FIXED_ORDER["PYTHONHASHSEED"]:
        command = [sys.executable, "-m", "tests.search.simulator", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | FIXED_ORDER)
    sys.exit(main())
