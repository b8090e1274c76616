"""The table that a run ends with, in Markdown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.lab.chaos.audit import Counted
from ops.lab.chaos.calls import Timed
from ops.lab.chaos.injector import Struck
from ops.lab.chaos.plan import Kind, Target
from ops.lab.chaos.recovery import Recovered
from ops.lab.chaos.verdict import KINDS, Verdict

#: Findings that are listed.
MOST_LISTED = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that the table is made of."""

    seed: int
    seconds: float
    verdict: Verdict
    counted: Counted
    struck: Sequence[Struck]
    recovered: Sequence[Recovered]
    #: The slowest answers: of calls that were to wait for values, and of all others.
    waiting: Sequence[Timed]
    others: Sequence[Timed]
    notes: Mapping[str, int]


def report(outcome: Outcome) -> str:
    """Return the table."""
    verdict = outcome.verdict
    parts = [
        f"chaos: seed {outcome.seed}, {outcome.seconds:.0f} s of faults: {'passed' if verdict.passed else 'FAILED'}",
        _faults(outcome.struck),
        _jobs(outcome),
        _recoveries(outcome.recovered),
        _answers(outcome),
    ]
    listed = [f"- {finding}" for finding in verdict.findings[:MOST_LISTED]]
    if len(verdict.findings) > MOST_LISTED:
        listed.append(f"- and {len(verdict.findings) - MOST_LISTED} more")
    if listed:
        parts.append("Faults found:\n\n" + "\n".join(listed))
    return "\n\n".join(parts) + "\n"


def _faults(struck: Sequence[Struck]) -> str:
    counts = Counter((one.fault.target, one.fault.kind) for one in struck)
    lines = [["faults", *Kind, "all"]]
    for target in Target:
        row = [counts[target, kind] for kind in Kind]
        lines.append([target, *map(str, row), str(sum(row))])
    totals = [sum(counts[target, kind] for target in Target) for kind in Kind]
    lines.append(["all", *map(str, totals), str(sum(totals))])
    return _table(lines)


def _jobs(outcome: Outcome) -> str:
    verdict, counted = outcome.verdict, outcome.counted
    bounds = (
        f"{counted.least:,}" if counted.least == counted.most else f"{counted.least:,} to {counted.most:,}"
    )
    lines = [
        ["what", "count"],
        ["jobs accepted", f"{verdict.accepted:,}"],
        ["jobs completed", f"{verdict.completed:,}"],
        ["jobs cancelled by their clients", f"{verdict.cancelled:,}"],
        *([what, str(verdict.found[kind])] for kind, what in KINDS.items()),
        ["rows checked against XGBoost", f"{verdict.rows_checked:,}"],
        ["rows duplicated or misplaced", str(verdict.rows_duplicated)],
        ["rows missing", str(verdict.rows_missing)],
        ["rows with other wrong values", str(verdict.rows_wrong)],
        ["rows_explained_total", f"{counted.said:,} (recorded: {bounds})"],
        *(
            [f"expected under faults: {what}", f"{number:,}"]
            for what, number in sorted(outcome.notes.items())
        ),
    ]
    return _table(lines)


def _recoveries(recovered: Sequence[Recovered]) -> str:
    lines = [["recovery after", "count", "p50 s", "p99 s", "max s", "never", "count beside others", "max s"]]
    for what in sorted(
        {one.what for one in recovered}, key=lambda what: (not what.startswith("worker"), what)
    ):
        alone = [
            one.seconds for one in recovered if one.what == what and one.alone and one.seconds is not None
        ]
        beside = [
            one.seconds for one in recovered if one.what == what and not one.alone and one.seconds is not None
        ]
        never = sum(one.what == what and one.seconds is None for one in recovered)
        figures = [_seconds(percentile(alone, share)) for share in (0.5, 0.99, 1.0)]
        lines.append(
            [what, str(len(alone)), *figures, str(never), str(len(beside)), _seconds(percentile(beside, 1.0))]
        )
    return _table(lines)


def _answers(outcome: Outcome) -> str:
    lines = [["longest answers of the api", "s", "call"]]
    for what, slowest in (
        ("no call waits for values", outcome.others),
        ("calls that wait for values", outcome.waiting),
    ):
        undisturbed = [timed for timed in slowest if not _was_stopped(timed, outcome.struck)]
        for name, found in ((what, slowest), (f"{what}, nothing was stopped", undisturbed)):
            if found:
                lines.append([name, f"{found[0].seconds:.2f}", f"`{found[0].what}`"])
    return _table(lines)


def _was_stopped(timed: Timed, struck: Sequence[Struck]) -> bool:
    """Return whether the tool had stopped a process of the appliance during this call."""
    return any(
        one.fault.kind is Kind.STOP and one.begun < timed.at + timed.seconds and timed.at < one.ended
        for one in struck
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least this share is not above; None without values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    head, *rest = (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
    return "\n".join([head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rest])
