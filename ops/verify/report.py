"""The report of verify: one line for each check, and whether all passed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """How a check ended."""

    PASS = "PASS"  # noqa: S105  # no password
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check: what was measured, and where it did not pass, why and what to do."""

    name: str
    verdict: Verdict
    measured: str = ""
    detail: str = ""
    remedy: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one visit, in their order."""

    url: str
    started_at: datetime
    seconds: float
    checks: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether something was checked and nothing has failed."""
        return not self.failures and any(check.verdict is Verdict.PASS for check in self.checks)

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that have failed."""
        return tuple(check for check in self.checks if check.verdict is Verdict.FAIL)

    def counts(self) -> dict[Verdict, int]:
        """Return how many checks ended in each way."""
        found = Counter(check.verdict for check in self.checks)
        return {verdict: found[verdict] for verdict in Verdict}

    def summary(self) -> str:
        """Say in one line how it went."""
        counts = self.counts()
        words = [
            f"{counts[Verdict.PASS]} passed",
            f"{counts[Verdict.FAIL]} failed",
            f"{counts[Verdict.SKIP]} not checked",
        ]
        return f"{'PASSED' if self.passed else 'FAILED'}: {', '.join(words)}, in {self.seconds:.1f} s"
