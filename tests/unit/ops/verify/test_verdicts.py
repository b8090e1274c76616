from __future__ import annotations

import http.client

import pytest

from ops.verify.check import HIDDEN, READY, Check, Series
from ops.verify.jobs import UnfinishedError
from ops.verify.options import VerifyOptions
from ops.verify.outcome import FailedError, NotCheckedError
from ops.verify.report import CheckResult, Verdict
from ops.verify.run import run_verify
from ops.verify.visit import Visit

KEY = "a-key-that-nobody-may-see"


class Heard:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, name: str) -> None:
        self.lines.append(f"begin {name}")

    def note(self, text: str) -> None:
        self.lines.append(text)

    def end(self, result: CheckResult) -> None:
        self.lines.append(f"{result.verdict} {result.name}")


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def series(heard: Heard) -> Series:
    """Make checks of an address where nothing listens."""
    options = VerifyOptions("http://127.0.0.1:1", api_key=KEY, progress=heard)
    return Series(Visit.to(options))


def passing(_visit: Visit) -> str:
    return "7 ms"


def raising(fault: Exception) -> Check:
    def run(_visit: Visit) -> str:
        raise fault

    return Check("broken", run)


def test_what_a_check_returns_is_what_was_measured(series: Series, heard: Heard) -> None:
    result = series.make(Check("fine", passing))
    assert (result.verdict, result.measured) == (Verdict.PASS, "7 ms")
    assert heard.lines == ["begin fine", "PASS fine"]


@pytest.mark.parametrize(
    ("fault", "verdict", "detail"),
    [
        (FailedError("It is so.", "Do that."), Verdict.FAIL, "It is so."),
        (NotCheckedError("no key."), Verdict.SKIP, "no key."),
        (UnfinishedError("it runs"), Verdict.FAIL, "Not in time: it runs."),
        (TimeoutError(), Verdict.FAIL, "A call was not answered: no answer in time."),
        (ConnectionRefusedError(), Verdict.FAIL, "A call was not answered: nothing listens there"),
        (http.client.RemoteDisconnected("gone"), Verdict.FAIL, "the connection was closed without an answer"),
        (KeyError("values"), Verdict.FAIL, "An answer is not what the contract says"),
        (ValueError("x"), Verdict.FAIL, "An answer is not what the contract says"),
    ],
)
def test_whatever_a_check_meets_becomes_a_verdict(
    series: Series, fault: Exception, verdict: Verdict, detail: str
) -> None:
    result = series.make(raising(fault))
    assert result.verdict is verdict
    assert detail in result.detail
    assert result.remedy or verdict is Verdict.SKIP


def test_what_needs_a_failed_check_is_skipped_and_so_is_what_needs_that(series: Series) -> None:
    series.make(raising(FailedError("It is so.", "Do that.")))
    second = series.make(Check("second", passing, ("broken",)))
    third = series.make(Check("third", passing, ("second",)))
    other = series.make(Check("other", passing, ("another",)))
    assert [second.verdict, third.verdict, other.verdict] == [Verdict.SKIP, Verdict.SKIP, Verdict.PASS]
    assert second.detail == third.detail == "not checked because broken failed."


def test_what_was_not_checked_for_want_of_a_key_blocks_nothing(series: Series) -> None:
    series.make(raising(NotCheckedError("no key.")))
    assert series.make(Check("second", passing, ("broken",))).verdict is Verdict.PASS


def test_a_failure_of_an_appliance_that_is_not_well_any_more_names_that_and_ends_the_rest(
    series: Series,
) -> None:
    def run(_visit: Visit) -> str:
        raise FailedError("No values.", "Look.")

    result = series.make(Check("model", run, (READY,)))
    assert result.detail.startswith("No values. Because: api: http://127.0.0.1:1 does not answer: nothing")
    assert "dashboard" in result.remedy
    rest = series.make(Check("job", passing, (READY,)))
    assert rest.detail == "not checked because it is not well any more: api (see model)."


def test_no_key_is_told_even_if_an_answer_quotes_it(series: Series) -> None:
    result = series.make(raising(FailedError(f"401: {KEY}?", f"Not {KEY}.", KEY)))
    assert (result.detail, result.remedy, result.measured) == (f"401: {HIDDEN}?", f"Not {HIDDEN}.", HIDDEN)
    assert KEY not in repr(VerifyOptions("http://x", KEY, KEY, KEY))


def test_where_nothing_answers_that_is_the_one_failure() -> None:
    report = run_verify(VerifyOptions("http://127.0.0.1:1", api_key=KEY))
    assert [check.name for check in report.failures] == ["reachable"]
    assert "nothing listens there" in report.failures[0].detail
    assert {check.verdict for check in report.checks[1:]} == {Verdict.SKIP}
