"""`python -m ops.lab.soak`: keeps an appliance at full load for SOAK_MINUTES (60)."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from ops.lab.report import number_from_environment, run_program, table, verdict
from ops.lab.soak.plot import plot
from ops.lab.soak.run import PLAN_MB, Soaked, soak
from ops.lab.soak.trend import Course, judge
from shared.settings import Settings

#: Reasons of recycles that a worker's growth has.
GROWN = ("self", "memory_soft", "memory_hard")


def main() -> int:
    """Run a soak; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.lab.soak", description=__doc__)
    parser.add_argument(
        "--report", type=Path, metavar="FOLDER", help="write soak.md, soak.csv and soak.svg there"
    )
    options = parser.parse_args()
    minutes = number_from_environment(parser, "SOAK_MINUTES", 60)
    folder = options.report or Path(tempfile.mkdtemp(prefix="shapbox-soak-report-"))
    return run_program("soak", lambda: conclude(soak(minutes), folder))


def conclude(done: Soaked, folder: Path) -> int:
    """Write the report; return the exit code."""
    samples, ledger = done.samples, done.ledger
    courses = [Course.of(name, samples) for name in samples.names()]
    faults, remarks = judge(samples, courses)
    if not ledger.counts["rows_checked"]:
        faults.append("no job was finished and checked")
    if done.oom_kills:
        faults.append(f"the kernel has killed {done.oom_kills} processes for memory")
    if grown := sum(done.recycles.get(reason, 0) for reason in GROWN):
        faults.append(f"workers had grown too large and were recycled {grown} times: something leaks")
    found = [*faults, *ledger.findings]
    text = "\n\n".join([_happened(done), _table(courses), *remarks, verdict(found)]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.md").write_text(text, encoding="utf-8")
    marks = {"the container's limit": PLAN_MB, "a worker is recycled": Settings().memory_limit_mb}
    (folder / "soak.svg").write_text(plot(samples, marks), encoding="utf-8")
    samples.write(folder / "soak.csv")
    (folder / "appliance.log").write_text(done.log, encoding="utf-8")
    print(f"\n{text}\nsoak: all of it is in {folder}")
    return 1 if found else 0


def _happened(done: Soaked) -> str:
    ledger = done.ledger
    completed = [entry for entry in ledger.entries() if entry.state == "completed"]
    rows = sum(entry.planned.rows for entry in completed)
    kinds = Counter(finding.kind for finding in ledger.findings)
    refused = sum(number for what, number in ledger.counts.items() if what.startswith("answers"))
    recycled = ", ".join(f"{count} ({reason})" for reason, count in sorted(done.recycles.items())) or "none"
    return (
        f"{done.samples.minutes:g} minutes, working set by {'cgroup' if done.in_cgroup else 'sum of PSS'}. "
        f"{len(completed):,} jobs with {rows:,} rows ({rows / max(done.samples.seconds, 1):,.0f} a second) and "
        f"{ledger.counts['one_row_answers']:,} single rows were explained, {ledger.counts['values_checked']:,} values "
        f"compared with XGBoost's own: {kinds['wrong']} results wrong, {kinds['lost']} jobs failed, "
        f"{kinds['unanswered'] + kinds['unexpected']} calls broken, {refused} requests refused for a moment. "
        f"Recycled workers: {recycled}. Kills by the kernel: {done.oom_kills if done.in_cgroup else 'not known'}."
    )


def _table(courses: list[Course]) -> str:
    lines = [["MB", "after warm-up", "middle", "end", "peak", "growth an hour", "runs"]]
    for course in courses:
        sizes = (course.warm, course.middle, course.end, course.peak)
        growth = "not known" if course.growth is None else f"{course.growth:+.1f}"
        cells = ["" if size is None else f"{size:.1f}" for size in sizes]
        lines.append([course.name, *cells, growth, str(course.runs)])
    return table(lines)


if __name__ == "__main__":
    sys.exit(main())
