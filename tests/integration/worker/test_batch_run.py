"""One batch from claim to record: exact values; the cost of a death or outage anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest

from services.worker.batch import BatchRunner, Outcome
from services.worker.exits import ShapReturn
from services.worker.models import WarmModel, WarmModels
from shared.appliance.counters import Counters
from shared.batch_plan import INTERVENTIONAL_PAIRS, ROWS
from shared.build import ROOT
from shared.engines.engine import Engine
from shared.engines.lean_xgboost import import_xgboost
from shared.engines.shap_engine import ShapEngine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.explanation import Explanation, Matrix
from shared.jobs.document import Method, Status
from shared.jobs.recovery import Blame
from shared.jobs.transitions import Claim, Completion, Transitions
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.settings import Settings
from shared.summary import summary as summary_module
from shared.summary.summary import Summary
from tests.integration.worker.conftest import Scene
from tests.support.redis_server import RedisServer


@pytest.mark.parametrize("model", ["breast-cancer", "wine", "diabetes"])
def test_values_are_xgboosts_own_and_interventional_ones_add_up_from_the_backgrounds_mean(
    runner: BatchRunner, scene: Scene, model: str
) -> None:
    rows = scene.examples(model)
    job, other = scene.accept(rows, model), scene.accept(rows[:5], model, method=Method.INTERVENTIONAL)
    outcomes = [runner.run(job.id, batch) for batch in range(job.batches)]
    assert outcomes == [Completion.RECORDED, Completion.RECORDED, Completion.COMPLETED]
    stored, wanted = scene.result(job), scene.reference(rows, model, pred_contribs=True)
    np.testing.assert_array_equal(stored.contributions.reshape(wanted.shape), wanted)
    margins = scene.reference(rows, model, output_margin=True)
    np.testing.assert_array_equal(stored.margins.reshape(margins.shape), margins)

    assert runner.run(other.id, 0) is Completion.COMPLETED
    stored = scene.result(other)
    scale = np.abs(stored.array).max()
    np.testing.assert_allclose(stored.contributions.sum(axis=2), stored.margins, atol=1e-5 * scale)
    background = np.load(scene.catalog.get(model).background_path or "")
    means = scene.reference(background, model, output_margin=True).reshape(len(background), -1).mean(axis=0)
    np.testing.assert_allclose(stored.base_values, np.tile(means, (5, 1)), rtol=1e-5, atol=1e-5)


def test_a_background_of_more_than_100_rows_is_used_to_its_last_row() -> None:
    rows = np.random.default_rng(5).normal(size=(300, 4)).astype(np.float32)
    xgboost = import_xgboost()
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(rows, rows @ [1, 2, 3, 4]), 10)
    engine = ShapEngine(XGBoostEngine(booster, outputs=1), rows, outputs=1)
    mean = booster.predict(xgboost.DMatrix(rows), output_margin=True).mean()
    np.testing.assert_allclose(engine.explain(rows[:3]).base_values[:, 0], mean, rtol=1e-5)
    assert engine.rows_at_once == INTERVENTIONAL_PAIRS // 300  # all that is planned for it, in one go


def test_a_large_jobs_batches_leave_summaries_behind_and_a_small_ones_do_not(
    runner: BatchRunner, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = scene.examples(rows=20)
    for sampled in (2000, 2):
        monkeypatch.setattr(summary_module, "SAMPLE_ROWS", sampled)
        job = scene.accept(rows)
        for batch in (0, 1):
            runner.run(job.id, batch)
            arrays = scene.payloads.summary_arrays(job, batch)
            result = scene.payloads.result(job, batch)
            wanted = (
                Summary.of_batch(job, batch, rows[batch * 10 :][:10], result).arrays if sampled == 2 else ()
            )
            for stored, own in zip(arrays, wanted, strict=True):
                np.testing.assert_array_equal(stored, own)


def test_shap_counts_as_used_by_a_batch_that_fails(
    runner: BatchRunner, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = scene.accept(method=Method.INTERVENTIONAL)
    used: list[bool] = []
    monkeypatch.setattr(ShapEngine, "explain", lambda _engine, _rows: 1 / 0)
    monkeypatch.setattr(ShapReturn, "used", lambda _self: used.append(True))
    assert runner.run(job.id, 0) is Outcome.FAILED
    assert used == [True]


def test_a_cancelled_job_is_not_failed_for_its_deleted_rows_and_one_without_its_model_is(
    runner: BatchRunner, scene: Scene
) -> None:
    cancelled, other = scene.accept(), scene.accept()
    scene.store.transitions.claim(cancelled.id, 0, runner.me.name, runner.me.token)
    scene.store.cancel(cancelled.id)
    scene.payloads.delete_job(cancelled.id)
    assert runner.run(cancelled.id, 0) is Claim.ENDED
    assert scene.status(cancelled) is Status.CANCELLED
    scene.connection.hset(f"shapbox:job:{other.id}", "model", "wine@9")
    scene.connection.hdel(f"shapbox:job:{other.id}", "checksum")
    assert runner.run(other.id, 0) is Outcome.FAILED
    assert scene.detail(other, "model-not-found")


def test_a_failing_store_costs_the_batch_nothing(
    runner: BatchRunner, scene: Scene, settings: Settings
) -> None:
    job = scene.accept()
    stored = settings.objects_dir / "jobs" / f"{job.id}.npy"
    stored.rename(settings.objects_dir / "aside")
    stored.symlink_to(stored)  # a circle: nothing can be read there
    for _ in range(5):  # more often than deaths are forgiven
        assert runner.run(job.id, 0) is Outcome.HANDED_BACK
    assert scene.recovery.running() == []
    stored.unlink()
    (settings.objects_dir / "aside").rename(stored)
    assert runner.run(job.id, 0) is Completion.COMPLETED


def test_a_batch_whose_objects_alone_fail_lets_others_go_first_and_is_given_up_in_the_end(
    runner: BatchRunner, scene: Scene, settings: Settings
) -> None:
    job = scene.accept(30)
    rows = settings.objects_dir / "jobs" / job.id / "input" / "000000.npy"
    rows.unlink()
    rows.symlink_to(rows)
    scene.connection.lpop("rq:queue:bulk")

    assert runner.run(job.id, 0) == Outcome.HANDED_BACK
    last = scene.connection.lindex("rq:queue:bulk", -1)
    assert isinstance(last, bytes)
    assert last.startswith(f"{job.id}-0-".encode())
    assert scene.blame(job) == Blame.UNEXPLAINED
    for _ in range(3 * Blame.DEATH - 1):
        runner.run(job.id, 0)
    assert scene.status(job) is Status.FAILED


class KilledError(BaseException):
    """Ends a run as a kill does. Real workers: tests/appliance/test_placed_kills.py."""


@pytest.mark.parametrize(
    ("owner", "step"),
    [(Payloads, "rows"), (XGBoostEngine, "explain"), (Transitions, "complete"), (Counters, "observe")],
    ids=["before the input is read", "in compute", "between result and record", "after the record"],
)
def test_a_worker_killed_anywhere_in_a_batch_loses_and_doubles_nothing(
    owner: type, step: str, runner: BatchRunner, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_given: object, **_named: object) -> None:
        raise KilledError

    rows = scene.examples()
    job = scene.accept(rows)
    doomed = replace(runner, me=replace(runner.me, token="doomed"))
    scene.heartbeats.beat(doomed.me)
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, die)
        with pytest.raises(KilledError):
            doomed.run(job.id, 1)
    assert runner.run(job.id, 1) is (Claim.DONE if owner is Counters else Claim.TAKEN)
    scene.heartbeats.withdraw("host/worker-1")  # as the monitor does when supervisord reports the death
    assert scene.give_back() == (0 if owner is Counters else 1)
    for batch in range(job.batches):
        runner.run(job.id, batch)
    assert scene.status(job) is Status.COMPLETED
    np.testing.assert_array_equal(scene.result(job).contributions, scene.reference(rows, pred_contribs=True))
    assert scene.connection.hget("shapbox:counters", "rows_explained_total|wine@1") == b"25"


class Greedy(WarmModels):
    def _load(self, model_id: str) -> Any:
        raise MemoryError(model_id)


def test_a_batch_that_needs_more_memory_than_a_worker_may_take_counts_a_death_and_the_worker_leaves(
    runner: BatchRunner, scene: Scene
) -> None:
    job = scene.accept(scene.examples())
    runner.stopping.clear()
    greedy = replace(runner, models=Greedy(scene.catalog))
    assert greedy.run(job.id, 1) is Outcome.HANDED_BACK
    assert runner.stopping.is_set()
    assert scene.blame(job, 1) == Blame.DEATH
    for _ in range(2):
        greedy.run(job.id, 1)
    wanted = {"type": "/problems/poison-batch", "detail": ANY, "rows": [10, 20]}
    assert scene.store.get(job.id).error == wanted


def test_a_model_damaged_after_boot_costs_its_own_jobs_and_no_other(
    runner: BatchRunner, scene: Scene, tmp_path: Path
) -> None:
    ignored = shutil.ignore_patterns("*.py", "__pycache__")
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=ignored)
    damaged = tmp_path / "models" / "wine" / "1" / "model.ubj"
    models = WarmModels(ModelCatalog.load(tmp_path / "models"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    models.warm_up()
    worker = replace(runner, models=models)
    wine, diabetes = (scene.accept(scene.examples(name, 5), name) for name in ("wine", "diabetes"))
    assert worker.run(wine.id, 0) is Outcome.FAILED
    assert worker.run(diabetes.id, 0) is Completion.COMPLETED
    assert "truncated" in str(scene.store.get(wine.id).error)


# --- Batches of more rows than their engine explains: planned for tables that are missing. ---

type Before = Callable[[int], object]
type Watch = Callable[[Before], tuple[BatchRunner, "WatchedEngine"]]


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
def watch(runner: BatchRunner, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Run batches without compiled files, and call something before each slice."""

    def watch(before: Before) -> tuple[BatchRunner, WatchedEngine]:
        models = WarmModels(scene.catalog, tmp_path)
        engine = WatchedEngine(models.get("wine@1").engine(Method.TREE_PATH_DEPENDENT), before)
        assert engine.rows_at_once == ROWS
        monkeypatch.setattr(WarmModel, "engine", lambda _model, _method: engine)
        return replace(runner, models=models), engine

    return watch


def test_a_batch_is_explained_in_slices_each_with_its_own_time_though_redis_is_away_in_between(
    watch: Watch, scene: Scene, server: RedisServer
) -> None:
    rows = np.random.default_rng(3).normal(size=(1700, 13)).astype(np.float32) * 10
    rows[::7, 2] = np.nan
    job, since = scene.accept(rows, batch_rows=5000), [0.0]

    def before(number: int) -> None:
        if number == 3:
            server.kill()
        elif number == 4:
            server.start()
        else:
            since.append(scene.recovery.running()[0].since)

    worker, engine = watch(before)
    assert worker.run(job.id, 0) is Completion.COMPLETED
    assert engine.slices == [500, 500, 500, 200]
    assert since == sorted(set(since))
    alone = Explanation.concatenate([engine.engine.explain(row[None]) for row in rows[::17]])
    np.testing.assert_array_equal(scene.result(job).array[::17], alone.array)
    assert scene.recovery.running() == []


@pytest.mark.parametrize("claim", [Claim.ENDED, Claim.GONE, Claim.TAKEN])
def test_a_run_that_loses_its_claim_between_two_slices_ends(watch: Watch, scene: Scene, claim: Claim) -> None:
    job = scene.accept(1200, batch_rows=5000)

    def lose(_number: int) -> None:
        if claim is Claim.TAKEN:
            scene.recovery.release(scene.recovery.running()[0], Blame.NONE)
            scene.store.transitions.claim(job.id, 0, "another", "life")
            return
        scene.store.cancel(job.id)
        if claim is Claim.GONE:
            scene.store.transitions.forget(job.id)

    worker, engine = watch(lose)
    assert worker.run(job.id, 0) is claim
    assert engine.slices == [500]
    assert [held.owner for held in scene.recovery.running()] == (["another"] if claim is Claim.TAKEN else [])
    assert claim is not Claim.ENDED or scene.status(job) is Status.CANCELLED
