"""Batches of more rows than their engine explains: planned for tables that are missing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import redis

from services.worker.batch import BatchRunner
from services.worker.models import WarmModel, WarmModels
from shared.batch_plan import INTERVENTIONAL_PAIRS, ROWS
from shared.engines.engine import Engine
from shared.engines.shap_engine import ShapEngine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.explanation import Explanation, Matrix
from shared.jobs import keys
from shared.jobs.document import Job, Method, Status
from shared.jobs.ids import new_job_id
from shared.jobs.recovery import Blame, Recovery
from shared.jobs.store import JobStore
from shared.jobs.transitions import Claim, Completion
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from tests.integration.redis_server import RedisServer
from tests.integration.worker.conftest import FEATURES, WorkerProcess

type Before = Callable[[int], object]


class WatchedEngine:
    """Calls `before` with the number of each slice before it explains it."""

    def __init__(self, engine: Engine, before: Before) -> None:
        self.engine, self.before = engine, before
        self.rows_at_once = engine.rows_at_once
        self.slices: list[int] = []

    def explain(self, rows: Matrix) -> Explanation:
        self.slices.append(len(rows))
        self.before(len(self.slices))
        return self.engine.explain(rows)


@pytest.fixture
def rows() -> Matrix:
    rows = np.random.default_rng(3).normal(size=(1200, FEATURES)).astype(np.float32) * 10
    rows[::7, 2] = np.nan
    return rows


@pytest.fixture
def job(store: JobStore, payloads: Payloads, rows: Matrix) -> Job:
    """A job of one batch, planned for the compiled engine."""
    job = Job(
        id=new_job_id(),
        model="wine@1",
        method=Method.TREE_PATH_DEPENDENT,
        rows=len(rows),
        batch_rows=5000,
        features=FEATURES,
        outputs=3,
        created_at=time.time(),
    )
    payloads.put_rows(job, 0, rows)
    return store.accept(job).job


@pytest.fixture
def watch(
    runner: BatchRunner, catalog: ModelCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Before], tuple[BatchRunner, WatchedEngine]]:
    """Run batches without compiled files, and call something before each slice."""

    def watch(before: Before) -> tuple[BatchRunner, WatchedEngine]:
        models = WarmModels(catalog, tmp_path)
        engine = WatchedEngine(models.get("wine@1").engine(Method.TREE_PATH_DEPENDENT), before)
        monkeypatch.setattr(WarmModel, "engine", lambda _model, _method: engine)
        return replace(runner, models=models), engine

    return watch


def test_a_batch_planned_for_tables_that_are_not_there_is_explained_in_slices_each_with_its_own_time(
    watch: Callable[..., tuple[BatchRunner, WatchedEngine]],
    job: Job,
    rows: Matrix,
    payloads: Payloads,
    recovery: Recovery,
) -> None:
    since: list[float] = []
    worker, engine = watch(lambda _number: since.append(recovery.running()[0].since))

    assert worker.run(job.id, 0) is Completion.COMPLETED

    assert engine.slices == [500, 500, 200]
    assert since[0] < since[1] < since[2]
    alone = Explanation.concatenate([engine.engine.explain(row[None]) for row in rows])
    np.testing.assert_array_equal(payloads.result(job, 0).array, alone.array)
    assert recovery.running() == []


@pytest.mark.parametrize("deleted", [False, True])
def test_a_job_that_is_cancelled_between_two_slices_ends_the_run_and_nothing_is_held(
    watch: Callable[..., tuple[BatchRunner, WatchedEngine]],
    job: Job,
    store: JobStore,
    recovery: Recovery,
    *,
    deleted: bool,
) -> None:
    def cancel(number: int) -> None:
        if number == 2:
            store.cancel(job.id)
            if deleted:
                store.transitions.forget(job.id)

    worker, engine = watch(cancel)

    assert worker.run(job.id, 0) is (Claim.GONE if deleted else Claim.ENDED)

    assert engine.slices == [500, 500]
    assert recovery.running() == []
    if not deleted:
        assert store.get(job.id).status is Status.CANCELLED


def test_a_batch_that_was_given_to_another_in_the_middle_is_left_to_it(
    watch: Callable[..., tuple[BatchRunner, WatchedEngine]], job: Job, store: JobStore, recovery: Recovery
) -> None:
    def give_away(_number: int) -> None:
        recovery.release(recovery.running()[0], Blame.NONE)
        store.transitions.claim(job.id, 0, "another", "life")

    worker, engine = watch(give_away)

    assert worker.run(job.id, 0) is Claim.TAKEN

    assert engine.slices == [500]
    assert [held.owner for held in recovery.running()] == ["another"]


def test_a_redis_that_is_away_between_two_slices_does_not_end_the_run(
    watch: Callable[..., tuple[BatchRunner, WatchedEngine]], job: Job, store: JobStore, server: RedisServer
) -> None:
    worker, engine = watch(lambda number: (server.kill, server.start)[number - 1]() if number < 3 else None)

    assert worker.run(job.id, 0) is Completion.COMPLETED

    assert engine.slices == [500, 500, 200]
    assert store.get(job.id).status is Status.COMPLETED


#: A worker that takes a while for each slice.
SLOW = """
import sys, time
from services.worker.__main__ import main
from shared.engines.xgboost_engine import XGBoostEngine
from shared.explanation import Explanation, Matrix

explain = XGBoostEngine.explain

def slow(self, rows):
    time.sleep(1.6 if len(rows) > 1 else 0)
    return explain(self, rows)

XGBoostEngine.explain = slow
sys.exit(main())
"""


@pytest.fixture
def hasty_rq(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let RQ give each batch four seconds: less than three slices take."""
    monkeypatch.setattr(store.queues, "_timeout", 4)


@pytest.mark.usefixtures("hasty_rq")
def test_rq_does_not_break_a_batch_off_whose_slices_together_take_longer_than_a_batch_may(
    start: Callable[..., WorkerProcess],
    job: Job,
    store: JobStore,
    connection: redis.Redis,
    wait_until: Callable[..., float],
) -> None:
    start(code=SLOW)

    wait_until(lambda: store.get(job.id).status is Status.COMPLETED)

    assert connection.hlen(keys.deaths(job.id)) == 0


def test_each_engine_explains_in_one_go_what_is_planned_for_it(catalog: ModelCatalog) -> None:
    version = catalog.get("wine")
    predictor = XGBoostEngine.load(version)
    background = np.zeros((400, FEATURES), dtype=np.float32)
    assert predictor.rows_at_once == ROWS
    assert ShapEngine(predictor, background, 3).rows_at_once == INTERVENTIONAL_PAIRS // (400 * 3)
