"""`python -m tests.support.method_table [--write]`: judges all models for docs/methods.md."""

from __future__ import annotations

import argparse
import sys

from tests.support.method_table.page import cells_of, generated, write, written, wrong_cells
from tests.support.method_table.sweep import judge_kinds
from tests.support.method_table.trained_kinds import every_kind


def main() -> int:
    """Print what is wrong or differs from the page; return 1 if anything does."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.method_table", description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/methods.md")
    options = parser.parse_args()
    found = judge_kinds(every_kind())
    wrong = wrong_cells(found)
    if options.write and not wrong:
        write(generated(found))
    now, page = cells_of(generated(found)), cells_of(written())
    wrong += [
        f"{place} is {now.get(place)!r}, on the page {page.get(place)!r}"
        for place in now | page
        if now.get(place) != page.get(place)
    ]
    sys.stderr.write("".join(f"{one}\n" for one in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
