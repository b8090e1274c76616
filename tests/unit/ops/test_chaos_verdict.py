"""One finding of any kind, or one row that is not right, fails a run; the table says which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.lab.chaos.audit import Audit, Counted
from ops.lab.chaos.check import Rows
from ops.lab.chaos.injector import Struck
from ops.lab.chaos.ledger import Entry, Finding, Ledger, State
from ops.lab.chaos.plan import Fault, Kind, Target
from ops.lab.chaos.planned_jobs import PlannedJob
from ops.lab.chaos.recovery import Recovered
from ops.lab.chaos.report import Outcome, percentile, report
from ops.lab.chaos.verdict import KINDS, judge

PLANNED = PlannedJob("key", "model@1", 0, 10)
AUDIT = Audit(
    entries=[Entry("a", PLANNED, State.COMPLETED), Entry("b", PLANNED, State.CANCELLED)],
    findings=[],
    rows_checked=10,
    rows=Rows(),
    counted=Counted(10, 10, 20),
)


def test_a_run_without_findings_passes() -> None:
    verdict = judge(AUDIT)
    assert (verdict.passed, verdict.exit_code) == (True, 0)
    assert (verdict.accepted, verdict.completed, verdict.cancelled) == (2, 1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_finding_of_any_kind_fails_it(kind: str) -> None:
    verdict = judge(replace(AUDIT, findings=[Finding(kind, "said")]))
    assert (verdict.passed, verdict.exit_code, verdict.found[kind]) == (False, 1, 1)


@pytest.mark.parametrize("rows", [Rows(wrong=1), Rows(duplicated=1), Rows(missing=1)])
def test_a_row_that_is_not_right_fails_it(rows: Rows) -> None:
    assert judge(replace(AUDIT, rows=rows)).exit_code == 1


def test_a_run_that_checked_nothing_fails() -> None:
    assert judge(replace(AUDIT, rows_checked=0)).exit_code == 1


@pytest.mark.parametrize(("said", "right"), [(9, False), (10, True), (20, True), (21, False)])
def test_rows_are_counted_within_what_can_be_known(said: int, right: bool) -> None:  # noqa: FBT001  # a test's parameter
    assert Counted(said, 10, 20).right is right


def test_the_table_shows_faults_jobs_and_recoveries() -> None:
    struck = Struck(Fault(1, 1.0, Target.WORKER, Kind.KILL, 1, 0.0), 1.0, 2.0)
    findings = [Finding("lost", "failed: poison-batch", "a")]
    text = report(
        Outcome(
            seed=3,
            seconds=60,
            verdict=judge(replace(AUDIT, findings=findings)),
            counted=AUDIT.counted,
            struck=[struck],
            recovered=[Recovered("worker SIGKILL", seconds, alone=True) for seconds in (0.5, 1.5)],
            waiting=[],
            others=[],
            notes={"answers 503": 4},
        )
    )
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "chaos: seed 3, 60 s of faults: FAILED" in lines
    assert "| worker | 1 | 0 | 0 | 1 |" in lines
    assert "| jobs lost: gone, failed, or with wrong values | 1 |" in lines
    assert "| expected under faults: answers 503 | 4 |" in lines
    assert "- lost: a failed: poison-batch" in lines
    assert any(line.startswith("| worker SIGKILL | 2 | 0.50 | 1.50 | 1.50 |") for line in lines)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert percentile([], 0.5) is None


def test_the_same_job_for_two_keys_is_a_finding() -> None:
    ledger = Ledger()
    ledger.accept("a", PLANNED)
    ledger.accept("a", PLANNED, b"values")
    assert not ledger.findings()
    assert ledger.entries()[0].answered == b"values"
    ledger.accept("a", replace(PLANNED, key="other"))
    assert [finding.kind for finding in ledger.findings()] == ["doubled"]


def test_an_open_job_counts_until_it_has_ended() -> None:
    ledger = Ledger()
    ledger.accept("a", PLANNED)
    ledger.accept("b", PLANNED)
    assert ledger.open_rows() == 20
    ledger.update("a", State.COMPLETED)
    assert [entry.id for entry in ledger.open()] == ["b"]
