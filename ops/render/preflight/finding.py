"""The finding of a check, and the output of all findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Whether a deploy may go on."""

    PASS = "PASS"  # noqa: S105  # the opposite of a failure
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome, what was seen, and what to do where it failed."""

    check: str
    outcome: Outcome
    seen: str
    remedy: str = ""

    @classmethod
    def passed(cls, check: str, seen: str) -> Finding:
        """All is well."""
        return cls(check, Outcome.PASS, seen)

    @classmethod
    def failed(cls, check: str, seen: str, remedy: str) -> Finding:
        """Something is wrong."""
        return cls(check, Outcome.FAIL, seen, remedy)

    @classmethod
    def skipped(cls, check: str, seen: str) -> Finding:
        """Leave it out, for this reason."""
        return cls(check, Outcome.SKIP, seen)


def all_well(findings: Sequence[Finding]) -> bool:
    """Return whether nothing failed."""
    return all(finding.outcome is not Outcome.FAIL for finding in findings)


def table(findings: Sequence[Finding]) -> str:
    """Return the findings as a table, each remedy below what it mends."""
    width = max((len(finding.check) for finding in findings), default=0)
    lines = []
    for finding in findings:
        first, *others = finding.seen.splitlines() or [""]
        lines.append(f"{finding.outcome:<6}{finding.check:<{width}}  {first}")
        lines += [f"{'':<6}{'':<{width}}  {line}" for line in others]
        lines += [f"{'':<6}{'':<{width}}  → {line}" for line in finding.remedy.splitlines()]
    return "\n".join(lines)
