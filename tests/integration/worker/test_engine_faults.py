"""A batch whose engine fails or is wrong fails its job at once, and nobody else is blamed."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

from services.worker.batch import BatchRunner, Outcome
from services.worker.models import WarmModel
from shared.engines.checks import TOLERANCE
from shared.engines.engine import Engine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import EngineError, PayloadMissingError
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.jobs import keys
from shared.jobs.document import Job, Method, Status
from shared.jobs.ids import new_job_id
from shared.jobs.queue import Lane
from shared.jobs.recovery import Recovery
from shared.jobs.store import JobStore
from shared.jobs.transitions import Completion
from shared.objects.payloads import Payloads
from tests.integration.worker.conftest import FEATURES

type Matrix = NDArray[np.float32]
type Spoil = Callable[[Matrix], Matrix]


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the engine's own answer pass through a function."""

    def spoil(change: Spoil, name: str = "explain") -> None:
        method = getattr(XGBoostEngine, name)

        def spoilt(engine: XGBoostEngine, *given: Any, **named: Any) -> Explanation | Matrix:
            found = method(engine, *given, **named)
            return Explanation(change(found.array)) if isinstance(found, Explanation) else change(found)

        monkeypatch.setattr(XGBoostEngine, name, spoilt)

    return spoil


def raising(fault: Exception) -> Spoil:
    def give(_result: Matrix) -> Matrix:
        raise fault

    return give


def off_by(amount: float, row: int) -> Spoil:
    def give(result: Matrix) -> Matrix:
        result[row, 0, 0] += amount
        return result

    return give


def the_detail(store: JobStore, job: Job, slug: str = "engine-fault") -> str:
    failed = store.get(job.id)
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error["type"] == f"/problems/{slug}"
    return str(failed.error["detail"])


def nobody_is_blamed(job: Job, store: JobStore, connection: redis.Redis) -> None:
    assert not connection.exists(keys.deaths(job.id))
    assert Recovery(connection, store).running() == []
    assert Recovery(connection, store).requeue_lost(at_once=True) == []
    # Accepting queued the batches. None was queued another time, and workers skip those of a failed job.
    assert store.queues.waiting() == {Lane.INTERACTIVE: 0, Lane.BULK: job.batches}


def faults_counted(runner: BatchRunner) -> float:
    """Return the faults that Redis knows of already: the next batch may kill the worker."""
    return runner.counters.read().get(("engine_faults_total", "wine@1"), 0.0)


@pytest.mark.parametrize(
    "fault", [RuntimeError("the tables are torn"), KeyError("tree 7"), OSError(errno.EIO, "torn")], ids=repr
)
def test_an_exception_in_an_engine_fails_the_job_the_first_time_and_gives_its_reason(
    fault: Exception,
    runner: BatchRunner,
    accept: Callable[..., Job],
    spoilt: Callable[..., None],
    store: JobStore,
    connection: redis.Redis,
) -> None:
    job = accept(3)
    spoilt(raising(fault))

    assert runner.run(job.id, 1) is Outcome.FAILED

    detail = the_detail(store, job)
    assert detail.startswith("Batch 1: The xgboost engine failed while it explained rows of model wine@1 (")
    assert f"({type(fault).__name__}: {fault}); no result was stored." in detail
    nobody_is_blamed(job, store, connection)
    assert faults_counted(runner) == 1


@pytest.mark.parametrize("rows_at_once", [None, 4])
def test_values_that_do_not_add_up_fail_the_job_and_are_not_stored(
    rows_at_once: int | None,
    runner: BatchRunner,
    accept: Callable[..., Job],
    spoilt: Callable[..., None],
    store: JobStore,
    payloads: Payloads,
    connection: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(XGBoostEngine, "rows_at_once", rows_at_once)
    job = accept(3)
    explained = 0

    def spoil_row_17(result: Matrix) -> Matrix:
        nonlocal explained
        if explained <= 7 < explained + len(result):
            result[7 - explained, 1, 0] += 0.67
        explained += len(result)
        return result

    spoilt(spoil_row_17)
    assert runner.run(job.id, 1) is Outcome.FAILED

    assert (
        "Batch 1: The xgboost engine's values of model wine@1 are 0.67 off their margin for output 1 in row 17; "
        "no result was stored." in the_detail(store, job)
    )
    with pytest.raises(PayloadMissingError):
        payloads.result(job, 1)
    nobody_is_blamed(job, store, connection)
    assert faults_counted(runner) == 1


def test_values_that_are_not_numbers_fail_the_job(
    runner: BatchRunner, accept: Callable[..., Job], spoilt: Callable[..., None], store: JobStore
) -> None:
    job = accept(1)
    spoilt(off_by(float("nan"), row=2))
    assert runner.run(job.id, 0) is Outcome.FAILED
    assert "values of model wine@1 are not all finite numbers" in the_detail(store, job)


def test_an_engine_that_cannot_be_made_fails_the_job(
    runner: BatchRunner, accept: Callable[..., Job], store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = accept(1)

    def broken(_model: WarmModel, _method: Method) -> Engine:
        raise IndexError("no such leaf")

    monkeypatch.setattr(WarmModel, "engine", broken)
    assert runner.run(job.id, 0) is Outcome.FAILED
    assert "(IndexError: no such leaf)" in the_detail(store, job)


def test_an_engines_own_refusal_keeps_its_slug_and_is_no_fault(
    runner: BatchRunner, accept: Callable[..., Job], spoilt: Callable[..., None], store: JobStore
) -> None:
    job = accept(1)
    spoilt(raising(EngineError("of a kind that it cannot explain")))
    assert runner.run(job.id, 0) is Outcome.FAILED
    assert the_detail(store, job, "engine") == "Batch 0: of a kind that it cannot explain"
    assert faults_counted(runner) == 0


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        ValueError("std::bad_alloc"),
        OSError(errno.ENOMEM, "no more"),
        ImportError("x.so: cannot allocate memory"),
    ],
    ids=repr,
)
def test_memory_that_runs_out_in_an_engine_is_no_fault_of_it(
    fault: Exception,
    runner: BatchRunner,
    accept: Callable[..., Job],
    spoilt: Callable[..., None],
    store: JobStore,
    connection: redis.Redis,
) -> None:
    job = accept(1)
    spoilt(raising(fault))
    assert runner.run(job.id, 0) is Outcome.HANDED_BACK
    assert store.get(job.id).status is Status.RUNNING
    assert connection.hget(keys.deaths(job.id), "0") == b"4"
    assert faults_counted(runner) == 0


def test_what_breaks_outside_of_engines_still_counts_as_a_death(
    runner: BatchRunner,
    accept: Callable[..., Job],
    store: JobStore,
    connection: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = accept(1)

    def broken(*_given: object) -> None:
        raise RuntimeError("not the engine's")

    monkeypatch.setattr(Payloads, "put_result", broken)
    assert runner.run(job.id, 0) is Outcome.HANDED_BACK
    assert store.get(job.id).status is Status.RUNNING
    assert connection.hget(keys.deaths(job.id), "0") == b"4"


@pytest.fixture
def with_interactions(store: JobStore, payloads: Payloads) -> Callable[[Interactions], Job]:
    def accept(wanted: Interactions) -> Job:
        rows = np.random.default_rng(1).normal(size=(10, FEATURES)).astype(np.float32)
        job = Job(
            id=new_job_id(),
            model="wine@1",
            method=Method.TREE_PATH_DEPENDENT,
            rows=10,
            batch_rows=10,
            features=FEATURES,
            outputs=3,
            created_at=time.time(),
            interactions=wanted,
        )
        payloads.put_rows(job, 0, rows)
        return store.accept(job).job

    return accept


WHOLE, TOP = Interactions(), Interactions(top_pairs=3)


@pytest.mark.parametrize("wanted", [WHOLE, TOP], ids=["matrices", "top pairs"])
def test_interactions_that_add_up_are_recorded_with_their_residual(
    wanted: Interactions,
    runner: BatchRunner,
    with_interactions: Callable[[Interactions], Job],
    store: JobStore,
) -> None:
    job = with_interactions(wanted)
    assert runner.run(job.id, 0) is Completion.COMPLETED
    residual = store.get(job.id).largest_residual
    assert residual is not None
    assert 0 < residual < TOLERANCE


@pytest.mark.parametrize("wanted", [WHOLE, TOP], ids=["matrices", "top pairs"])
def test_interactions_that_do_not_add_up_fail_the_job_and_nothing_is_stored(
    wanted: Interactions,
    runner: BatchRunner,
    with_interactions: Callable[[Interactions], Job],
    spoilt: Callable[..., None],
    store: JobStore,
    payloads: Payloads,
) -> None:
    job = with_interactions(wanted)

    def spoil_matrices(found: Matrix) -> Matrix:
        if found.ndim == 4:  # values and margins have fewer
            found[4, 0, 2, 2] += 0.25
        return found

    spoilt(spoil_matrices, "_predict")
    assert runner.run(job.id, 0) is Outcome.FAILED
    assert (
        "The xgboost engine's interactions of model wine@1 are 0.25 off the value of feature 2 for output 0 in row 4"
        in the_detail(store, job)
    )
    with pytest.raises(PayloadMissingError):
        payloads.result(job, 0)
    with pytest.raises(PayloadMissingError):
        payloads.interaction_spans(job, 0, [range(1)])
    assert faults_counted(runner) == 1


def test_the_largest_residual_of_all_batches_is_in_the_job_and_kept_for_the_model(
    runner: BatchRunner,
    accept: Callable[..., Job],
    store: JobStore,
    spoilt: Callable[..., None],
) -> None:
    job = accept(3)
    assert store.get(job.id).largest_residual is None
    runner.run(job.id, 0)
    first = store.get(job.id).largest_residual
    assert first is not None
    assert 0 <= first < 2e-6

    spoilt(off_by(3e-5, row=5))
    runner.run(job.id, 1)
    most = store.get(job.id).largest_residual
    assert most is not None
    assert 5e-6 < most <= 3.2e-5
    assert runner.counters.read()["largest_residual", "wine@1"] == most
