"""A batch whose engine fails or is wrong fails its job at once, and nobody else is blamed."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from services.worker.batch import BatchRunner, Outcome
from services.worker.models import WarmModel
from shared.engines.checks import TOLERANCE
from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import EngineError, PayloadMissingError
from shared.explanation import Explanation, Matrix
from shared.interactions import Interactions
from shared.jobs.document import Job, Status
from shared.jobs.queue import Lane
from shared.jobs.recovery import Blame
from shared.jobs.transitions import Completion
from shared.objects.payloads import Payloads
from tests.integration.worker.conftest import Scene

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


def raising(fault: Exception) -> Callable[..., Any]:
    def give(*_given: object, **_named: object) -> Any:
        raise fault

    return give


def off_by(amount: float, row: int, output: int = 0) -> Spoil:
    """Alter a value of one row, counted over all calls."""
    before = 0

    def give(result: Matrix) -> Matrix:
        nonlocal before
        if before <= row < before + len(result):
            result[row - before, output, 0] += amount
        before += len(result)
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
    ("owner", "name", "spoil", "said", "slug"),
    [
        (XGBoostEngine, "explain", raising(KeyError("tree 7")), "(KeyError: 'tree 7'); no result was", ""),
        (XGBoostEngine, "explain", raising(OSError(errno.EIO, "torn")), "(OSError: [Errno 5] torn)", ""),
        (WarmModel, "engine", raising(IndexError("no such leaf")), "(IndexError: no such leaf)", ""),
        (XGBoostEngine, "explain", off_by(0.67, 7, 1), "0.67 off their margin for output 1 in row 17;", ""),
        (XGBoostEngine, "explain", off_by(float("nan"), 2), "are not all finite numbers", ""),
        (XGBoostEngine, "explain", raising(EngineError("it cannot")), "Batch 1: it cannot", "engine"),
    ],
    ids=["exception", "I/O error", "not made", "wrong sum", "not finite", "refusal"],
)
def test_a_fault_of_an_engine_fails_the_job_the_first_time_and_a_refusal_is_none(
    owner: type,
    name: str,
    spoil: Any,
    said: str,
    slug: str,
    runner: BatchRunner,
    scene: Scene,
    spoilt: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = scene.accept(30)
    monkeypatch.setattr(XGBoostEngine, "rows_at_once", 4)
    if owner is XGBoostEngine:
        spoilt(spoil)
    else:
        monkeypatch.setattr(owner, name, spoil)
    assert runner.run(job.id, 1) is Outcome.FAILED
    detail = scene.detail(job, slug or "engine-fault")
    assert said in detail
    assert slug or detail.startswith("Batch 1: The xgboost engine")
    assert slug or "wine@1" in detail
    with pytest.raises(PayloadMissingError):
        scene.payloads.result(job, 1)
    nobody_is_blamed(scene, job)
    assert faults_counted(runner) == (0 if slug else 1)


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


@pytest.mark.parametrize("wanted", [Interactions(), Interactions(top_pairs=3)], ids=["matrices", "top pairs"])
def test_interactions_add_up_or_fail_the_job_and_nothing_is_stored(
    wanted: Interactions, runner: BatchRunner, scene: Scene, spoilt: Callable[..., None]
) -> None:
    rows = np.random.default_rng(1).normal(size=(10, 13)).astype(np.float32)
    good, job = (scene.accept(rows, interactions=wanted) for _ in range(2))
    assert runner.run(good.id, 0) is Completion.COMPLETED
    assert 0 < (scene.store.get(good.id).largest_residual or 0) < TOLERANCE

    def spoil_matrices(found: Matrix) -> Matrix:
        if found.ndim == 4:  # values and margins have fewer
            found[4, 0, 2, 2] += 0.25
        return found

    spoilt(spoil_matrices, "_predict")
    assert runner.run(job.id, 0) is Outcome.FAILED
    assert "0.25 off the value of feature 2 for output 0 in row 4" in scene.detail(job)
    with pytest.raises(PayloadMissingError):
        scene.payloads.result(job, 0)
    with pytest.raises(PayloadMissingError):
        scene.payloads.interaction_spans(job, 0, [range(1)])
    assert faults_counted(runner) == 1


def test_the_largest_residual_of_all_batches_is_in_the_job_and_kept_for_the_model(
    runner: BatchRunner, scene: Scene, spoilt: Callable[..., None]
) -> None:
    job, seen = scene.accept(30), []
    for batch in (0, 1):
        runner.run(job.id, batch)
        seen.append(scene.store.get(job.id).largest_residual or 0)
        spoilt(off_by(3e-5, row=5))
    assert 0 <= seen[0] < 2e-6
    assert 5e-6 < seen[1] <= 3.2e-5
    assert runner.counters.read()["largest_residual", "wine@1"] == seen[1]
