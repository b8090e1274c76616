"""The report of verify and preflight: results as a table, JSON or JUnit XML."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from xml.etree import ElementTree as ET

#: Columns of the table where nobody says how many there are, and at least.
WIDTH, LEAST_WIDTH = 110, 60
#: Characters that XML 1.0 cannot hold, even escaped.
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


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


class CheckError(Exception):
    """The reason why a check did not pass, what to do about it, and what was measured."""

    def __init__(self, detail: str, remedy: str = "", measured: str = "") -> None:
        super().__init__(detail)
        self.detail, self.remedy, self.measured = detail, remedy, measured


class FailedError(CheckError):
    """The check has failed."""


class NotCheckedError(CheckError):
    """The check was not made."""


def make_check(
    name: str, check: Callable[[], str], unexpected: Callable[[Exception], FailedError]
) -> CheckResult:
    """Make a check; an exception becomes its result.

    `unexpected` turns an exception that is not ours into a FailedError.
    """
    try:
        return CheckResult(name, Verdict.PASS, check())
    except CheckError as fault:
        reason: CheckError = fault
    except Exception as fault:  # noqa: BLE001  # after any fault, the other checks are worth knowing
        reason = unexpected(fault)
    verdict = Verdict.SKIP if isinstance(reason, NotCheckedError) else Verdict.FAIL
    return CheckResult(name, verdict, reason.measured, reason.detail, reason.remedy)


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


def as_text(report: Report, width: int = WIDTH) -> str:
    """Return the table under the address, and the counts."""
    passed, failed, skipped = report.counts().values()
    counts = f"{passed} passed, {failed} failed, {skipped} not checked, in {report.seconds:.1f} s"
    end = f"{'PASSED' if report.passed else 'FAILED'}: {counts}"
    return f"verify: {report.url}\n\n{table(report.checks, width)}\n\n{end}"


def table(checks: Sequence[CheckResult], width: int = WIDTH) -> str:
    """Return a line for each check, and below it the faults and their remedies."""
    names = max(len("check"), *(len(check.name) for check in checks))
    lines = [f"      {'check':<{names}}  seconds  measured"]
    for check in checks:
        line = f"{check.verdict}  {check.name:<{names}}  {check.seconds:7.1f}  {check.measured}"
        lines.append(line.rstrip())
        for mark, texts in (("  ", check.detail), ("> ", check.remedy)):
            for text in texts.splitlines():
                lines += textwrap.wrap(
                    text,
                    max(width, LEAST_WIDTH),
                    initial_indent=f"      {mark}",
                    subsequent_indent=" " * 8,
                    break_on_hyphens=False,
                )
    return "\n".join(lines)


def as_json(report: Report) -> str:
    """Return the whole report as one JSON object."""
    document = asdict(report) | {
        "started_at": report.started_at.isoformat(timespec="seconds"),
        "passed": report.passed,
        "counts": {verdict.value.lower(): count for verdict, count in report.counts().items()},
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def as_junit(report: Report) -> str:
    """Return one test suite in JUnit's XML."""
    counts = report.counts()
    attributes = {
        "name": f"verify {report.url}",
        "tests": len(report.checks),
        "failures": counts[Verdict.FAIL],
        "errors": 0,
        "skipped": counts[Verdict.SKIP],
        "time": f"{report.seconds:.3f}",
        "timestamp": f"{report.started_at:%Y-%m-%dT%H:%M:%S}",
    }
    suite = ET.Element("testsuite", {name: _clean(str(value)) for name, value in attributes.items()})
    for check in report.checks:
        named = {"classname": "verify", "name": _clean(check.name), "time": f"{check.seconds:.3f}"}
        case = ET.SubElement(suite, "testcase", named)
        if check.verdict is Verdict.FAIL:
            ET.SubElement(case, "failure", message=_clean(check.detail)).text = _clean(check.remedy)
        elif check.verdict is Verdict.SKIP:
            ET.SubElement(case, "skipped", message=_clean(f"{check.detail} {check.remedy}".strip()))
        if check.measured:
            ET.SubElement(case, "system-out").text = _clean(check.measured)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)


#: The writers by the name of their format.
WRITERS: Mapping[str, Callable[[Report], str]] = {"text": as_text, "json": as_json, "junit": as_junit}
