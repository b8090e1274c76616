"""`python -m ops.verify`: 0 if all checks pass, 1 if one fails, 2 if it could not run."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import sys

from ops.verify.place import VerifyPlace, options_for
from ops.verify.report import Report
from ops.verify.run import run_verify
from ops.verify.terminal import TerminalProgress
from ops.verify.writers import WRITERS, as_text
from shared.errors import ShapboxError

#: Exit codes.
PASSED, FAILED, COULD_NOT_RUN = 0, 1, 2


def main() -> int:
    """Visit, report, and return the exit code."""
    given = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)  # so that the jobs are deleted all the same
    progress = TerminalProgress(sys.stderr) if sys.stderr.isatty() else None
    try:
        place = VerifyPlace(given.url, given.expect_commit, given.soak, progress)
        options = options_for(place, os.environ)
    except ShapboxError as fault:
        print(f"verify: {fault}", file=sys.stderr)
        return COULD_NOT_RUN
    try:
        report = run_verify(options)
    except KeyboardInterrupt:
        print("\nverify: interrupted; the jobs that it had made are deleted.", file=sys.stderr)
        return 130
    print(_written(report, given.format))
    return PASSED if report.passed else FAILED


def _written(report: Report, form: str) -> str:
    if form == "text" and sys.stdout.isatty():
        return "\n" + as_text(report, shutil.get_terminal_size().columns)
    return WRITERS[form](report)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.verify", description=__doc__)
    parser.add_argument(
        "--url", help="a remote appliance; its keys come from API_KEY, ADMIN_API_KEY and METRICS_TOKEN"
    )
    parser.add_argument("--expect-commit", metavar="SHA", help="the commit that should run there")
    parser.add_argument(
        "--soak", type=_minutes, default=0.0, metavar="MINUTES", help="keep a light load up for so long"
    )
    parser.add_argument("--format", choices=WRITERS, default="text", help="how the report is written (text)")
    return parser.parse_args()


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 <= minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes")
    return minutes


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
