"""`python -m ops.lab.soak`: keeps an appliance at full load for SOAK_MINUTES (60)."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import tempfile
from pathlib import Path

from ops.lab.soak.history import sort_out
from ops.lab.soak.plot import plot
from ops.lab.soak.report import report
from ops.lab.soak.row_pool import POOL_ROWS
from ops.lab.soak.run import Soaked, SoakPlan, soak
from ops.lab.soak.samples import read_samples
from ops.lab.soak.verdict import judge
from ops.lab.trial_appliance import TrialError
from shared.errors import ShapboxError

#: Minutes of a soak, unless SOAK_MINUTES says otherwise.
MINUTES = "60"


def main() -> int:
    """Run a soak, or report on an earlier one; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.lab.soak", description=__doc__)
    parser.add_argument(
        "--report", type=Path, metavar="FOLDER", help="write soak.md, soak.csv and soak.svg there"
    )
    parser.add_argument("--from", type=Path, dest="samples", metavar="CSV", help="report on an earlier run")
    parser.add_argument("--workers", type=int, default=2, help="WORKERS of the appliance (2)")
    parser.add_argument("--rows", type=int, default=POOL_ROWS, help=f"rows of the largest job ({POOL_ROWS})")
    options = parser.parse_args()
    minutes = _minutes(parser, os.environ.get("SOAK_MINUTES") or MINUTES)
    signal.signal(signal.SIGTERM, _leave)  # so that the appliance is stopped as well
    folder = options.report or Path(tempfile.mkdtemp(prefix="shapbox-soak-report-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if options.samples:
            done = Soaked(sort_out(read_samples(options.samples)), [], "")
        else:
            done = soak(SoakPlan(minutes, folder / "soak.csv", options.workers, options.rows))
    except (TrialError, ShapboxError, OSError, ValueError) as fault:
        print(f"soak: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return _conclude(done, folder)


def _conclude(done: Soaked, folder: Path) -> int:
    verdict = judge(done.history)
    text = report(done.history, verdict, done.faults)
    (folder / "soak.md").write_text(text, encoding="utf-8")
    (folder / "soak.svg").write_text(plot(done.history), encoding="utf-8")
    if done.log:
        (folder / "appliance.log").write_text(done.log, encoding="utf-8")
    print(f"\n{text}\nsoak: all of it is in {folder}")
    return 0 if verdict.passed else 1


def _minutes(parser: argparse.ArgumentParser, text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        parser.error(f"SOAK_MINUTES={text!r} is no number of minutes")
    return minutes


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
