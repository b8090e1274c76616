"""`python -m ops.lab.chaos`: injects faults under load; exits with 1 if anything was lost.

CHAOS_SECONDS (300) says how long the faults go on, CHAOS_SEED (1) which they are. The plan of faults can be
repeated; how the processes interleave with it cannot.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from ops.lab.chaos.plan import Kind, Target, plan_faults
from ops.lab.chaos.run import Outcome, strike
from ops.lab.report import number_from_environment, run_program, table, verdict

#: The kinds of findings, and what each says. Any of them fails the run.
KINDS = {
    "lost": "jobs lost: gone, failed, or without a result",
    "wrong": "results with wrong values",
    "stuck": "jobs stuck: not ended by the deadline",
    "doubled": "jobs doubled: made twice, or told to nobody",
    "miscounted": "rows_explained_total is not what was recorded",
    "unanswered": "submissions that were never answered",
    "unexpected": "answers and stops that should not be",
}


def main() -> int:
    """Run, or print the plan; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.lab.chaos", description=__doc__)
    parser.add_argument("--plan", action="store_true", help="only print the faults that a run would make")
    options = parser.parse_args()
    seconds = number_from_environment(parser, "CHAOS_SECONDS", 300)
    seed = int(number_from_environment(parser, "CHAOS_SEED", 1))
    if options.plan:
        print("\n".join(str(fault) for fault in plan_faults(seed, seconds)))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="shapbox-chaos-"))
    code = run_program("chaos", lambda: _run(folder, seed, seconds))
    if code == 1:
        print(f"chaos: its data and log stay in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _run(folder: Path, seed: int, seconds: float) -> int:
    outcome = strike(folder, seed, seconds)
    ledger = outcome.load.ledger
    if not ledger.counts["rows_checked"]:
        ledger.find("lost", "not one row could be checked")
    said = "FAILED" if ledger.findings else "passed"
    print(f"\nchaos: seed {seed}, {seconds:.0f} s of faults: {said}")
    for lines in (_faults(outcome), _jobs(outcome)):
        print(f"\n{table(lines)}")
    print(f"\n{verdict(ledger.findings)}", flush=True)
    return 1 if ledger.findings else 0


def _faults(outcome: Outcome) -> list[list[str]]:
    counts = Counter((fault.target, fault.kind) for fault in outcome.struck)
    lines = [["faults", *Kind, "all"]]
    for targets in (*((target,) for target in Target), tuple(Target)):
        row = [sum(counts[target, kind] for target in targets) for kind in Kind]
        lines.append([targets[0] if len(targets) == 1 else "all", *map(str, row), str(sum(row))])
    return lines


def _jobs(outcome: Outcome) -> list[list[str]]:
    ledger, audit = outcome.load.ledger, outcome.audit
    states = Counter(entry.state for entry in ledger.entries())
    found = Counter(finding.kind for finding in ledger.findings)
    bounds = f"{audit.least:,}" if audit.least == audit.most else f"{audit.least:,} to {audit.most:,}"
    noted = ("answers", "broken", "faults")
    expected = [(what, number) for what, number in sorted(ledger.counts.items()) if what.startswith(noted)]
    return [
        ["what", "count"],
        ["jobs accepted", f"{states.total():,}"],
        ["jobs completed", f"{states['completed']:,}"],
        ["jobs cancelled by their clients", f"{states['cancelled']:,}"],
        *([what, str(found[kind])] for kind, what in KINDS.items()),
        ["rows checked against XGBoost", f"{ledger.counts['rows_checked']:,}"],
        ["rows duplicated or misplaced", str(audit.rows.misplaced)],
        ["rows missing", str(audit.rows.missing)],
        ["rows with other wrong values", str(audit.rows.wrong)],
        ["rows_explained_total", f"{audit.counted:,} (recorded: {bounds})"],
        *([f"expected under faults: {what}", f"{number:,}"] for what, number in expected),
    ]


if __name__ == "__main__":
    sys.exit(main())
