"""A batch whose engine fails or is wrong fails its job at once, and nobody else is blamed."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import redis

from services.worker.batch import BatchRunner, Outcome
from services.worker.heartbeat import HeartbeatThread
from services.worker.models import WarmModel
from services.worker.worker import BatchWorker
from shared.engines.checks import TOLERANCE
from shared.engines.engine import Engine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import EngineError, PayloadMissingError
from shared.explanation import Explanation, Matrix
from shared.interactions import Interactions
from shared.jobs.document import Job, Method, Status
from shared.jobs.queue import Lane
from shared.jobs.recovery import Blame
from shared.jobs.transitions import Completion
from shared.objects.payloads import Payloads
from tests.integration.worker.conftest import Scene

type Spoil = Callable[[Matrix], Matrix]

WHOLE, TOP = Interactions(), Interactions(top_pairs=3)


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


def raising(fault: Exception) -> Callable[..., Any]:
    def give(*_given: object, **_named: object) -> Any:
        raise fault

    return give


def off_by(amount: float, row: int) -> Spoil:
    def give(result: Matrix) -> Matrix:
        result[row, 0, 0] += amount
        return result

    return give


def nobody_is_blamed(scene: Scene, job: Job) -> None:
    assert not any(scene.blame(job, batch) for batch in range(job.batches))
    assert scene.recovery.running() == []
    assert scene.recovery.requeue_lost(at_once=True) == []
    # Accepting queued the batches. None was queued another time, and workers skip those of a failed job.
    assert scene.store.queues.waiting() == {Lane.INTERACTIVE: 0, Lane.BULK: job.batches}


def faults_counted(runner: BatchRunner) -> float:
    """Return the faults that Redis knows of already: the next batch may kill the worker."""
    return runner.counters.read().get(("engine_faults_total", "wine@1"), 0.0)


@pytest.mark.parametrize(
    "fault", [RuntimeError("the tables are torn"), KeyError("tree 7"), OSError(errno.EIO, "torn")], ids=repr
)
def test_an_exception_in_an_engine_fails_the_job_the_first_time_and_gives_its_reason(
    fault: Exception, runner: BatchRunner, scene: Scene, spoilt: Callable[..., None]
) -> None:
    job = scene.accept(30)
    spoilt(raising(fault))
    assert runner.run(job.id, 1) is Outcome.FAILED
    detail = scene.detail(job)
    assert detail.startswith("Batch 1: The xgboost engine failed while it explained rows of model wine@1 (")
    assert f"({type(fault).__name__}: {fault}); no result was stored." in detail
    nobody_is_blamed(scene, job)
    assert faults_counted(runner) == 1


@pytest.mark.parametrize("rows_at_once", [None, 4])
def test_values_that_do_not_add_up_fail_the_job_and_are_not_stored(
    rows_at_once: int | None,
    runner: BatchRunner,
    scene: Scene,
    spoilt: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(XGBoostEngine, "rows_at_once", rows_at_once)
    job = scene.accept(30)
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
        "no result was stored." in scene.detail(job)
    )
    with pytest.raises(PayloadMissingError):
        scene.payloads.result(job, 1)
    nobody_is_blamed(scene, job)
    assert faults_counted(runner) == 1


def test_values_that_are_not_numbers_fail_the_job(
    runner: BatchRunner, scene: Scene, spoilt: Callable[..., None]
) -> None:
    job = scene.accept()
    spoilt(off_by(float("nan"), row=2))
    assert runner.run(job.id, 0) is Outcome.FAILED
    assert "values of model wine@1 are not all finite numbers" in scene.detail(job)


def test_an_engine_that_cannot_be_made_fails_the_job(
    runner: BatchRunner, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = scene.accept()

    def broken(_model: WarmModel, _method: Method) -> Engine:
        raise IndexError("no such leaf")

    monkeypatch.setattr(WarmModel, "engine", broken)
    assert runner.run(job.id, 0) is Outcome.FAILED
    assert "(IndexError: no such leaf)" in scene.detail(job)


def test_an_engines_own_refusal_keeps_its_slug_and_is_no_fault(
    runner: BatchRunner, scene: Scene, spoilt: Callable[..., None]
) -> None:
    job = scene.accept()
    spoilt(raising(EngineError("of a kind that it cannot explain")))
    assert runner.run(job.id, 0) is Outcome.FAILED
    assert scene.detail(job, "engine") == "Batch 0: of a kind that it cannot explain"
    assert faults_counted(runner) == 0


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        ValueError("std::bad_alloc"),
        OSError(errno.ENOMEM, "no more"),
        ImportError("x.so: cannot allocate memory"),
        None,
    ],
    ids=repr,
)
def test_memory_that_runs_out_in_an_engine_and_what_breaks_outside_of_one_count_as_a_death(
    fault: Exception | None,
    runner: BatchRunner,
    scene: Scene,
    spoilt: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = scene.accept()
    if fault is None:
        monkeypatch.setattr(Payloads, "put_result", raising(RuntimeError("not the engine's")))
    else:
        spoilt(raising(fault))
    assert runner.run(job.id, 0) is Outcome.HANDED_BACK
    assert scene.status(job) is Status.RUNNING
    assert scene.blame(job) == Blame.DEATH
    assert faults_counted(runner) == 0


@pytest.mark.parametrize("wanted", [WHOLE, TOP], ids=["matrices", "top pairs"])
def test_interactions_add_up_or_fail_the_job_and_nothing_is_stored(
    wanted: Interactions, runner: BatchRunner, scene: Scene, spoilt: Callable[..., None]
) -> None:
    rows = np.random.default_rng(1).normal(size=(10, 13)).astype(np.float32)
    good, job = (scene.accept(rows, interactions=wanted) for _ in range(2))
    assert runner.run(good.id, 0) is Completion.COMPLETED
    residual = scene.store.get(good.id).largest_residual
    assert residual is not None
    assert 0 < residual < TOLERANCE

    def spoil_matrices(found: Matrix) -> Matrix:
        if found.ndim == 4:  # values and margins have fewer
            found[4, 0, 2, 2] += 0.25
        return found

    spoilt(spoil_matrices, "_predict")
    assert runner.run(job.id, 0) is Outcome.FAILED
    assert (
        "The xgboost engine's interactions of model wine@1 are 0.25 off the value of feature 2 for output 0 in row 4"
        in scene.detail(job)
    )
    with pytest.raises(PayloadMissingError):
        scene.payloads.result(job, 0)
    with pytest.raises(PayloadMissingError):
        scene.payloads.interaction_spans(job, 0, [range(1)])
    assert faults_counted(runner) == 1


def test_the_largest_residual_of_all_batches_is_in_the_job_and_kept_for_the_model(
    runner: BatchRunner, scene: Scene, spoilt: Callable[..., None]
) -> None:
    job = scene.accept(30)
    assert scene.store.get(job.id).largest_residual is None
    runner.run(job.id, 0)
    first = scene.store.get(job.id).largest_residual
    assert first is not None
    assert 0 <= first < 2e-6

    spoilt(off_by(3e-5, row=5))
    runner.run(job.id, 1)
    most = scene.store.get(job.id).largest_residual
    assert most is not None
    assert 5e-6 < most <= 3.2e-5
    assert runner.counters.read()["largest_residual", "wine@1"] == most


# --- A worker exits after a run that raised. An outage of Redis is no fault of its batch. ---


@pytest.fixture
def worker(runner: BatchRunner, scene: Scene) -> BatchWorker:
    runner.stopping.clear()
    heartbeat = HeartbeatThread(scene.heartbeats, runner.me, runner.counters)
    return BatchWorker(scene.connection, runner, heartbeat, memory_limit_mb=10_000)


def run_one_batch(worker: BatchWorker, scene: Scene) -> None:
    scene.accept()
    found = worker.dequeue_job_and_maintain_ttl(5)
    assert found is not None
    worker.execute_job(*found)


@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        (MemoryError(), True),
        (redis.exceptions.ResponseError("WRONGTYPE"), True),
        (redis.exceptions.ConnectionError(), False),
        (redis.exceptions.TimeoutError(), False),
        (redis.exceptions.ResponseError("MISCONF Redis is configured to save, and cannot"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_a_redis_that_is_away_lets_a_worker_exit_in_order_after_a_run_that_raised(
    worker: BatchWorker, scene: Scene, monkeypatch: pytest.MonkeyPatch, *, fault: Exception, broken: bool
) -> None:
    monkeypatch.setattr(BatchRunner, "run", raising(fault))
    run_one_batch(worker, scene)
    assert worker.broken is broken
    assert worker._stop_requested


def test_a_run_that_ends_leaves_no_record_in_rq_and_the_worker_goes_on(
    worker: BatchWorker, scene: Scene
) -> None:
    run_one_batch(worker, scene)
    assert scene.connection.keys("rq:job:*") == []
    assert not scene.connection.exists("rq:wip:interactive")
    assert not worker.broken
    assert not worker._stop_requested
