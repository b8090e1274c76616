"""`python -m ops.lab.chaos`: injects faults under load; exits with 1 if anything was lost.

CHAOS_SECONDS (300) says how long the faults go on, CHAOS_SEED (1) which they are. The plan of faults can be
repeated; how the processes interleave with it cannot.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from ops.lab.chaos.calls import GivenUpError
from ops.lab.chaos.plan import plan_faults
from ops.lab.chaos.report import Outcome, report
from ops.lab.chaos.run import strike
from ops.lab.trial_appliance import TrialError
from shared.errors import ShapboxError
from shared.redis.connection import REDIS_AWAY

#: Defaults of the environment's variables.
SECONDS, SEED = "300", "1"


def main() -> int:
    """Run, or print the plan; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.lab.chaos", description=__doc__)
    parser.add_argument(
        "--plan", action="store_true", help="print the faults that a run would make, and exit"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table there, too")
    options = parser.parse_args()
    seconds = _number(parser, "CHAOS_SECONDS", SECONDS)
    seed = _number(parser, "CHAOS_SEED", SEED)
    if options.plan:
        print("\n".join(str(fault) for fault in plan_faults(seed, seconds)))
        return 0
    signal.signal(signal.SIGTERM, _leave)  # so that the appliance is ended as well
    folder = Path(tempfile.mkdtemp(prefix="shapbox-chaos-"))
    try:
        outcome = strike(folder, seed, seconds)
    except (TrialError, ShapboxError, GivenUpError, OSError, *REDIS_AWAY) as fault:
        print(f"chaos: the run broke off: {fault}\nchaos: its data and log stay in {folder}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit):
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    return _conclude(outcome, folder, options.report)


def _conclude(outcome: Outcome, folder: Path, file: Path | None) -> int:
    text = report(outcome)
    print(f"\n{text}", flush=True)
    if file:
        file.write_text(text, encoding="utf-8")
    if outcome.verdict.passed:
        shutil.rmtree(folder)
    else:
        print(f"chaos: its data and log stay in {folder}", file=sys.stderr)
    return outcome.verdict.exit_code


def _number(parser: argparse.ArgumentParser, name: str, default: str) -> int:
    text = os.environ.get(name) or default
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        parser.error(f"{name}={text!r} is no whole number from 1 up")
    return int(text)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
