"""`python -m tests.support.method_table [--write]`: judges all models for docs/methods.md."""

from __future__ import annotations

import argparse
import sys

from tests.support.method_table.page import generated, write, wrong_cells
from tests.support.method_table.sweep import judge_all


def main() -> int:
    """Print what is wrong, and the tables or where they were written."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.method_table", description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/methods.md")
    options = parser.parse_args()
    found = judge_all()
    wrong = wrong_cells(found)
    sys.stderr.write("".join(f"{one}\n" for one in wrong))
    if options.write and not wrong:
        write(generated(found))
    else:
        sys.stdout.write(generated(found))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
