from __future__ import annotations

from datetime import datetime

import pytest

from ops.verify.checks.soak import failed_events
from ops.verify.options import VerifyOptions
from ops.verify.outcome import FailedError, NotCheckedError
from ops.verify.run import run_verify
from ops.verify.visit import Visit

URL = "http://127.0.0.1:1"


def none_since(_time: datetime) -> list[str]:
    return []


def oom_since(_time: datetime) -> list[str]:
    return ["out of memory (512 MB) at 09:31"]


def unreadable(_time: datetime) -> list[str]:
    raise RuntimeError("429")


def visit(url: str = URL, **given: object) -> Visit:
    return Visit.to(VerifyOptions(url, **given))  # type: ignore[arg-type]  # one field by its name


def test_the_platform_is_asked_for_failures_since_the_visit_began() -> None:
    asked: list[datetime] = []

    def ask(time: datetime) -> list[str]:
        asked.append(time)
        return []

    begun = visit(failed_events=ask)
    assert failed_events(begun).startswith("no failure since ")
    assert asked == [begun.started_at]
    assert begun.started_at.tzinfo is not None


def test_a_failure_that_it_tells_of_fails() -> None:
    with pytest.raises(FailedError, match="out of memory"):
        failed_events(visit(failed_events=oom_since))


def test_events_that_cannot_be_read_are_not_checked() -> None:
    with pytest.raises(NotCheckedError, match="cannot be read"):
        failed_events(visit(failed_events=unreadable))
    with pytest.raises(NotCheckedError, match="Render's events take its key"):
        failed_events(visit())


@pytest.mark.parametrize(("given", "there"), [(None, False), (none_since, True)])
def test_events_are_part_of_a_visit_to_a_platform_only(given: object, there: bool) -> None:  # noqa: FBT001  # a parameter of the test
    options = VerifyOptions(URL, failed_events=given)  # type: ignore[arg-type]  # either of them
    assert ("Render's events" in {check.name for check in run_verify(options).checks}) == there
