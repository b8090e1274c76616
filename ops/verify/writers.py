"""Writes a report as a table for people, as JSON, or as JUnit's XML."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import asdict
from xml.etree import ElementTree as ET

from ops.verify.report import CheckResult, Report, Verdict

#: Columns of the table where nobody says how many there are, and at least.
WIDTH, LEAST_WIDTH = 110, 60
#: Characters that XML 1.0 cannot hold, even escaped.
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_text(report: Report, width: int = WIDTH) -> str:
    """Return the table: a line for each check, and below it the faults and their remedies."""
    name_width = max(len("check"), *(len(check.name) for check in report.checks))
    lines = [f"verify: {report.url}", "", _line("", "check", "seconds", "measured", name_width)]
    for check in report.checks:
        said = _line(check.verdict, check.name, f"{check.seconds:.1f}", check.measured, name_width)
        lines.append(said.rstrip())
        lines += _reasons(check, max(width, LEAST_WIDTH))
    return "\n".join([*lines, "", report.summary()])


def as_json(report: Report) -> str:
    """Return the whole report as one JSON object."""
    document = {
        "url": report.url,
        "started_at": report.started_at.isoformat(timespec="seconds"),
        "seconds": round(report.seconds, 3),
        "passed": report.passed,
        "counts": {verdict.value.lower(): count for verdict, count in report.counts().items()},
        "checks": [asdict(check) | {"seconds": round(check.seconds, 3)} for check in report.checks],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def as_junit(report: Report) -> str:
    """Return one test suite in JUnit's XML."""
    counts = report.counts()
    suite = ET.Element(
        "testsuite",
        name=f"verify {_clean(report.url)}",
        tests=str(len(report.checks)),
        failures=str(counts[Verdict.FAIL]),
        errors="0",
        skipped=str(counts[Verdict.SKIP]),
        time=f"{report.seconds:.3f}",
        timestamp=report.started_at.strftime("%Y-%m-%dT%H:%M:%S"),
    )
    for check in report.checks:
        suite.append(_case(check))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


#: The writers by the name of their format.
WRITERS: Mapping[str, Callable[[Report], str]] = {"text": as_text, "json": as_json, "junit": as_junit}


def _line(verdict: str, name: str, seconds: str, measured: str, name_width: int) -> str:
    return f"{verdict:<4}  {name:<{name_width}}  {seconds:>7}  {measured}"


def _reasons(check: CheckResult, width: int) -> list[str]:
    lines = []
    for mark, text in (("  ", check.detail), ("> ", check.remedy)):
        lines += textwrap.wrap(
            text, width, initial_indent=f"      {mark}", subsequent_indent=" " * 8, break_on_hyphens=False
        )
    return lines


def _case(check: CheckResult) -> ET.Element:
    case = ET.Element("testcase", classname="verify", name=_clean(check.name), time=f"{check.seconds:.3f}")
    if check.verdict is Verdict.FAIL:
        failure = ET.SubElement(case, "failure", message=_clean(check.detail))
        failure.text = _clean(check.remedy)
    elif check.verdict is Verdict.SKIP:
        ET.SubElement(case, "skipped", message=_clean(f"{check.detail} {check.remedy}".strip()))
    if check.measured:
        ET.SubElement(case, "system-out").text = _clean(check.measured)
    return case


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)
