from __future__ import annotations

import json
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from ops.verify.report import CheckResult, Report, Verdict, as_json, as_junit, as_text

CHECKS = (
    CheckResult("reachable", Verdict.PASS, "12 ms", seconds=0.0123),
    CheckResult("commit", Verdict.SKIP, detail="not checked.", remedy="Set EXPECT_COMMIT=SHA."),
    CheckResult(
        "API_KEY", Verdict.FAIL, "401", 'API_KEY is refused (401: <no> & "so").', "Set API_KEY.", seconds=1.26
    ),
)


def report(*checks: CheckResult) -> Report:
    return Report("https://box.example", datetime(2026, 1, 5, 9, 30, tzinfo=UTC), 3.21, checks or CHECKS)


def test_the_table_has_a_line_for_each_check_and_says_why_and_what_to_do() -> None:
    assert as_text(report()).splitlines() == [
        "verify: https://box.example",
        "",
        "      check      seconds  measured",
        "PASS  reachable      0.0  12 ms",
        "SKIP  commit         0.0",
        "        not checked.",
        "      > Set EXPECT_COMMIT=SHA.",
        "FAIL  API_KEY        1.3  401",
        '        API_KEY is refused (401: <no> & "so").',
        "      > Set API_KEY.",
        "",
        "FAILED: 1 passed, 1 failed, 1 not checked, in 3.2 s",
    ]


def test_long_reasons_are_wrapped_to_the_width() -> None:
    long = CheckResult("job", Verdict.FAIL, detail="word " * 60, remedy="else " * 60)
    lines = as_text(report(long), width=70).splitlines()
    assert max(len(line) for line in lines) <= 70
    assert sum(line.count("word") for line in lines) == sum(line.count("else") for line in lines) == 60


def test_json_holds_everything() -> None:
    document = json.loads(as_json(report()))
    assert (document["url"], document["started_at"]) == ("https://box.example", "2026-01-05T09:30:00+00:00")
    assert (document["passed"], document["counts"]) == (False, {"pass": 1, "fail": 1, "skip": 1})
    assert document["checks"][2] == {
        "name": "API_KEY",
        "verdict": "FAIL",
        "measured": "401",
        "detail": 'API_KEY is refused (401: <no> & "so").',
        "remedy": "Set API_KEY.",
        "seconds": 1.26,
    }


def test_junit_counts_and_names_every_check() -> None:
    suite = ET.fromstring(as_junit(report()))
    counts = {
        "tests": "3",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
        "timestamp": "2026-01-05T09:30:00",
    }
    assert {name: suite.get(name) for name in counts} == counts
    passed, skipped, failed = suite.findall("testcase")
    assert [case.get("name") for case in (passed, skipped, failed)] == ["reachable", "commit", "API_KEY"]
    assert (len(passed), passed.findtext("system-out")) == (1, "12 ms")
    [reason] = skipped.findall("skipped")
    assert reason.get("message") == "not checked. Set EXPECT_COMMIT=SHA."
    [reason] = failed.findall("failure")
    assert (reason.get("message"), reason.text) == ('API_KEY is refused (401: <no> & "so").', "Set API_KEY.")


def test_junit_can_be_read_whatever_a_broken_service_has_answered() -> None:
    broken = CheckResult("reachable", Verdict.FAIL, detail="502: \x00\x1b[31m\ud800 ]]>", remedy="\x0b")
    failure = ET.fromstring(as_junit(report(broken))).find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "502: ��[31m� ]]>"


def test_a_report_passes_if_nothing_failed_and_something_was_checked() -> None:
    passed, skipped, failed = CHECKS
    assert report(passed, skipped).passed
    assert not report(passed, failed).passed
    assert not report(skipped).passed
    assert report(passed, failed).failures == (failed,)
