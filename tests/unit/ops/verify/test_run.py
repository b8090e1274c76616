from __future__ import annotations

from datetime import datetime

import pytest

from ops.verify.checks.work import failed_events
from ops.verify.report import FailedError, NotCheckedError, Verdict
from ops.verify.run import HIDDEN, READY, Check, Series, run_verify
from ops.verify.visit import VerifyOptions, Visit
from shapbox import NoAnswerError

KEY, NOWHERE = "a-key-that-nobody-may-see", "http://127.0.0.1:1"


@pytest.fixture
def series() -> Series:
    """Make checks of an address where nothing listens."""
    return Series(Visit(VerifyOptions(NOWHERE, {"API_KEY": KEY})))


def passing(_visit: Visit) -> str:
    return "7 ms"


def raising(fault: Exception) -> Check:
    def run(_visit: Visit) -> str:
        raise fault

    return Check("broken", run)


@pytest.mark.parametrize(
    ("fault", "verdict", "detail"),
    [
        (FailedError("It is so.", "Do that."), Verdict.FAIL, "It is so."),
        (NotCheckedError("no key."), Verdict.SKIP, "no key."),
        (
            NoAnswerError("GET / was not answered: timed out"),
            Verdict.FAIL,
            "GET / was not answered: timed out.",
        ),
        (KeyError("values"), Verdict.FAIL, "An answer is not what the contract says"),
    ],
)
def test_whatever_a_check_meets_becomes_a_verdict(
    series: Series, fault: Exception, verdict: Verdict, detail: str
) -> None:
    result = series.make(raising(fault))
    assert result.verdict is verdict
    assert detail in result.detail
    assert result.remedy or verdict is Verdict.SKIP


def test_a_check_that_needs_a_failed_one_is_skipped_and_so_is_one_that_needs_that(series: Series) -> None:
    series.make(raising(FailedError("It is so.", "Do that.")))
    second = series.make(Check("second", passing, ("broken",)))
    third = series.make(Check("third", passing, ("second",)))
    other = series.make(Check("other", passing, ("another",)))
    assert [second.verdict, third.verdict, other.verdict] == [Verdict.SKIP, Verdict.SKIP, Verdict.PASS]
    assert second.detail == third.detail == "not checked because broken failed."
    assert other.measured == "7 ms"


def test_a_check_that_lacks_its_key_blocks_nothing(series: Series) -> None:
    series.make(raising(NotCheckedError("no key.")))
    assert series.make(Check("second", passing, ("broken",))).verdict is Verdict.PASS


def test_a_failure_of_an_appliance_that_is_not_well_any_more_names_that_and_ends_the_rest(
    series: Series,
) -> None:
    def run(_visit: Visit) -> str:
        raise FailedError("No values.", "Look.")

    result = series.make(Check("model", run, (READY,)))
    assert result.detail.startswith(
        "No values. Because: api: GET http://127.0.0.1:1/readyz was not answered: "
    )
    assert "dashboard" in result.remedy
    rest = series.make(Check("job", passing, (READY,)))
    assert rest.detail == "not checked because it is not well any more: api (see model)."


def test_no_key_is_told_even_if_an_answer_quotes_it(series: Series) -> None:
    result = series.make(raising(FailedError(f"401: {KEY}?", f"Not {KEY}.", KEY)))
    assert (result.detail, result.remedy, result.measured) == (f"401: {HIDDEN}?", f"Not {HIDDEN}.", HIDDEN)
    assert KEY not in repr(VerifyOptions(NOWHERE, {"API_KEY": KEY}))


def test_where_nothing_answers_that_is_the_one_failure() -> None:
    report = run_verify(VerifyOptions(NOWHERE, {"API_KEY": KEY}))
    assert [check.name for check in report.failures] == ["reachable"]
    assert "Connection refused" in report.failures[0].detail
    assert {check.verdict for check in report.checks[1:]} == {Verdict.SKIP}
    assert "Render's events" not in {check.name for check in report.checks}


def test_the_platform_is_asked_for_failures_since_the_visit_began() -> None:
    asked: list[datetime] = []
    events: list[str] = []

    def ask(since: datetime) -> list[str]:
        asked.append(since)
        return events

    begun = Visit(VerifyOptions(NOWHERE, failed_events=ask))
    assert failed_events(begun).startswith("no failure since ")
    assert asked == [begun.started_at]
    events.append("out of memory (512 MB) at 09:31")
    with pytest.raises(FailedError, match="out of memory"):
        failed_events(begun)
    assert "Render's events" in {check.name for check in run_verify(begun.options).checks}


def test_events_that_cannot_be_read_are_not_checked() -> None:
    def fail(_since: datetime) -> list[str]:
        raise RuntimeError("429")

    for ask, said in ((fail, "cannot be read"), (None, "Render's events take its key")):
        with pytest.raises(NotCheckedError, match=said):
            failed_events(Visit(VerifyOptions(NOWHERE, failed_events=ask)))
