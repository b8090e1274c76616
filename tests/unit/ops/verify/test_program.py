"""The options, exit codes and reports of `python -m ops.verify`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ops.verify.__main__ import main, options_for
from ops.verify.report import CheckResult, Report, Verdict, as_json, as_junit, as_text
from ops.verify.visit import VerifyOptions
from shared.errors import SettingsError

KEY, ADMIN = "an-api-key-of-16-or-more", "an-admin-key-of-16-or-more"
BOX = "https://box.example"
CHECKS = (
    CheckResult("reachable", Verdict.PASS, "12 ms", seconds=0.0123),
    CheckResult("commit", Verdict.SKIP, detail="not checked.", remedy="Set EXPECT_COMMIT=SHA."),
    CheckResult(
        "API_KEY", Verdict.FAIL, "401", 'API_KEY is refused (401: <no> & "so").', "Set API_KEY.", seconds=1.26
    ),
)


def read(environment: dict[str, str], url: str | None = None, commit: str | None = None) -> VerifyOptions:
    return options_for(url, commit, 2.5, environment)


def test_a_remote_appliance_is_visited_with_the_keys_of_the_environment(tmp_path: Path) -> None:
    secret = tmp_path / "admin"
    secret.write_text(f"{ADMIN}\n")
    # This machine's own settings are none of that service's, and may be broken.
    environment = {"API_KEY": KEY, "ADMIN_API_KEY_FILE": str(secret), "PORT": "x", "DATA_DIR": str(tmp_path)}
    options = read(environment, f"{BOX}/", "ABCDEF1")
    assert (options.url, options.keys) == (BOX, {"API_KEY": KEY, "ADMIN_API_KEY": ADMIN})
    assert (options.expect_commit, options.soak_minutes) == ("abcdef1", 2.5)
    assert KEY not in repr(options)


@pytest.mark.parametrize(
    ("url", "commit", "environment", "said"),
    [
        (BOX, None, {"METRICS_TOKEN": KEY}, "set API_KEY"),
        (BOX, "main", {"API_KEY": KEY}, "no commit"),
        ("box.example", None, {"API_KEY": KEY}, "write https://"),
        ("https://box.example:x", None, {"API_KEY": KEY}, "no address"),
        ("https://me:secret@box.example", None, {"API_KEY": KEY}, "an address alone"),
        ("https://box.example/?key=secret", None, {"API_KEY": KEY}, "an address alone"),
        (None, None, {"DATA_DIR": "nowhere"}, "set DATA_DIR"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_what_to_do(
    url: str | None, commit: str | None, environment: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read(environment, url, commit)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "key", "code"),
    [
        (["--url", "http://127.0.0.1:1"], "", 2),
        (["--soak", "-1"], KEY, 2),
        (["--url", "http://127.0.0.1:1"], KEY, 1),
    ],
)
def test_the_exit_code_tells_a_failure_from_a_visit_that_could_not_be_made(
    words: list[str],
    key: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["verify", *words])
    monkeypatch.setenv("API_KEY", key)
    assert main() == code
    said = capsys.readouterr()
    assert ("FAIL  reachable" in said.out) == (code == 1)
    assert KEY not in said.out + said.err


def report(*checks: CheckResult) -> Report:
    return Report(BOX, datetime(2026, 1, 5, 9, 30, tzinfo=UTC), 3.21, checks or CHECKS)


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
    long = as_text(report(CheckResult("job", Verdict.FAIL, detail="word " * 60)), width=70)
    assert max(len(line) for line in long.splitlines()) <= 70
    assert long.count("word") == 60


def test_junit_names_every_check_whatever_a_broken_service_has_answered() -> None:
    broken = CheckResult("job", Verdict.FAIL, detail="502: \x00\x1b[31m\ud800 ]]>", remedy="\x0b")
    suite = ET.fromstring(as_junit(report(*CHECKS, broken)))
    counts = {
        "tests": "4",
        "failures": "2",
        "errors": "0",
        "skipped": "1",
        "timestamp": "2026-01-05T09:30:00",
    }
    assert {name: suite.get(name) for name in counts} == counts
    passed, skipped, failed, odd = suite.findall("testcase")
    assert [case.get("name") for case in (passed, skipped, failed)] == ["reachable", "commit", "API_KEY"]
    assert (len(passed), passed.findtext("system-out")) == (1, "12 ms")
    [reason] = skipped.findall("skipped")
    assert reason.get("message") == "not checked. Set EXPECT_COMMIT=SHA."
    [reason] = failed.findall("failure")
    assert (reason.get("message"), reason.text) == ('API_KEY is refused (401: <no> & "so").', "Set API_KEY.")
    [reason] = odd.findall("failure")
    assert reason.get("message") == "502: ��[31m� ]]>"


def test_a_report_passes_if_nothing_failed_and_something_was_checked() -> None:
    passed, skipped, failed = CHECKS
    for checks, passes in (((passed, skipped), True), ((passed, failed), False), ((skipped,), False)):
        assert json.loads(as_json(report(*checks)))["passed"] is passes
