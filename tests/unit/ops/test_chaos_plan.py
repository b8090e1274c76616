"""A seed always means the same faults and the same jobs."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from ops.lab.chaos.plan import WORKERS, Kind, Target, plan_faults
from ops.lab.chaos.planned_jobs import POOL_ROWS, SIZES, planned_jobs
from shared.jobs.document import Method

MODELS = ["breast-cancer@1", "california-housing@1"]


def test_a_seed_repeats_its_faults() -> None:
    assert plan_faults(7, 300) == plan_faults(7, 300)
    assert plan_faults(7, 300) != plan_faults(8, 300)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short = plan_faults(7, 60)
    assert plan_faults(7, 300)[: len(short)] == short


def test_there_are_faults_for_all_of_the_time() -> None:
    plan = plan_faults(3, 300)
    assert sum(fault.pause + fault.stop for fault in plan) >= 300
    assert [fault.number for fault in plan] == list(range(1, len(plan) + 1))


@pytest.mark.parametrize("seed", range(1, 6))
def test_five_minutes_meet_every_process_and_every_kind(seed: int) -> None:
    plan = plan_faults(seed, 300)
    assert {fault.target for fault in plan} == set(Target)
    assert {fault.kind for fault in plan} == set(Kind)
    assert {fault.worker for fault in plan} == set(range(1, WORKERS + 1))


def test_only_a_stop_lasts() -> None:
    for fault in plan_faults(5, 300):
        assert (fault.stop > 0) == (fault.kind is Kind.STOP)


def test_a_fault_says_what_it_will_do() -> None:
    text = "\n".join(str(fault) for fault in plan_faults(1, 300))
    assert "SIGKILL to worker-1" in text
    assert " s\n" in text


def test_a_seed_repeats_each_clients_jobs() -> None:
    first, again, other = (
        list(itertools.islice(planned_jobs(MODELS, 1, client), 50)) for client in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert len({planned.key for planned in first + other}) == 100


def test_the_jobs_are_of_every_size_model_and_form() -> None:
    many = list(itertools.islice(planned_jobs(MODELS, 1, 0), 1000))
    for least, most, _ in SIZES:
        assert any(least <= planned.rows <= most for planned in many)
    assert Counter(planned.model for planned in many).keys() == set(MODELS)
    assert {planned.form.name for planned in many} == {"NPY", "JSON", "CSV"}
    assert {planned.method for planned in many} == set(Method)
    assert any(planned.again for planned in many)
    assert any(planned.cancel_after is not None for planned in many)
    assert all(0 <= planned.first <= planned.first + planned.rows <= POOL_ROWS for planned in many)
