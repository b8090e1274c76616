"""Whether a run went well, from what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ops.lab.chaos.audit import Audit
from ops.lab.chaos.ledger import Finding, State

#: The kinds of findings, and what each says. Any of them fails the run.
KINDS = {
    "lost": "jobs lost: gone, failed, or with wrong values",
    "stuck": "jobs stuck: not ended by the deadline",
    "doubled": "jobs doubled: made twice, or told to nobody",
    "miscounted": "rows_explained_total is not what was recorded",
    "unanswered": "submissions that were never answered",
    "unexpected": "answers and stops that should not be",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The counts of the table. Nothing of what must be 0 is left out of `passed`."""

    accepted: int
    completed: int
    cancelled: int
    found: Counter[str]
    rows_checked: int
    rows_wrong: int
    rows_duplicated: int
    rows_missing: int
    findings: Sequence[Finding]

    @property
    def passed(self) -> bool:
        """Whether nothing is lost, doubled or wrong, and something was checked."""
        rows = self.rows_wrong + self.rows_duplicated + self.rows_missing
        return self.rows_checked > 0 and not rows and not self.findings

    @property
    def exit_code(self) -> int:
        """Return what the program ends with."""
        return 0 if self.passed else 1


def judge(audit: Audit) -> Verdict:
    """Judge a run."""
    states = Counter(entry.state for entry in audit.entries)
    return Verdict(
        accepted=len(audit.entries),
        completed=states[State.COMPLETED],
        cancelled=states[State.CANCELLED],
        found=Counter(finding.kind for finding in audit.findings),
        rows_checked=audit.rows_checked,
        rows_wrong=audit.rows.wrong,
        rows_duplicated=audit.rows.duplicated,
        rows_missing=audit.rows.missing,
        findings=audit.findings,
    )
