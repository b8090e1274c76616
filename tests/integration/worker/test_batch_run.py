"""One batch from claim to record: exact values; the cost of a death or outage anywhere."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
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
from shared.batch_plan import INTERVENTIONAL_PAIRS, ROWS
from shared.build import ROOT
from shared.engines.engine import Engine
from shared.engines.lean_xgboost import import_xgboost
from shared.engines.shap_engine import ShapEngine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.explanation import Explanation, Matrix
from shared.jobs.document import Method, Status
from shared.jobs.recovery import Blame
from shared.jobs.transitions import Claim, Completion
from shared.models.catalog import ModelCatalog
from shared.settings import Settings
from shared.summary import summary as summary_module
from shared.summary.summary import Summary
from tests.integration.worker.conftest import Scene
from tests.support.redis_server import RedisServer

MODELS = ["breast-cancer", "wine", "diabetes"]


@pytest.mark.parametrize("model", MODELS)
def test_values_are_xgboosts_own_for_one_and_several_outputs_and_missing_values(
    runner: BatchRunner, scene: Scene, model: str
) -> None:
    rows = scene.examples(model)
    job = scene.accept(rows, model)

    outcomes = [runner.run(job.id, batch) for batch in range(job.batches)]

    assert outcomes == [Completion.RECORDED, Completion.RECORDED, Completion.COMPLETED]
    stored = scene.result(job)
    wanted = scene.reference(rows, model, pred_contribs=True)
    np.testing.assert_array_equal(stored.contributions.reshape(wanted.shape), wanted)
    margins = scene.reference(rows, model, output_margin=True)
    np.testing.assert_array_equal(stored.margins.reshape(margins.shape), margins)


@pytest.mark.parametrize("model", MODELS)
def test_interventional_values_add_up_from_the_mean_over_the_whole_background(
    runner: BatchRunner, scene: Scene, model: str
) -> None:
    job = scene.accept(scene.examples(model, rows=5), model, "interventional")

    assert runner.run(job.id, 0) is Completion.COMPLETED

    stored = scene.result(job)
    scale = np.abs(stored.array).max()
    np.testing.assert_allclose(stored.contributions.sum(axis=2), stored.margins, atol=1e-5 * scale)
    background = np.load(scene.catalog.get(model).background_path or "")
    means = scene.reference(background, model, output_margin=True).reshape(len(background), -1).mean(axis=0)
    np.testing.assert_allclose(stored.base_values, np.tile(means, (5, 1)), rtol=1e-5, atol=1e-5)


def test_a_background_of_more_than_100_rows_is_used_to_its_last_row() -> None:
    generator = np.random.default_rng(5)
    rows = generator.normal(size=(300, 4)).astype(np.float32)
    xgboost = import_xgboost()
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(rows, rows @ [1, 2, 3, 4]), 10)
    engine = ShapEngine(XGBoostEngine(booster, outputs=1), rows, outputs=1)

    values = engine.explain(rows[:3])

    mean = booster.predict(xgboost.DMatrix(rows), output_margin=True).mean()
    np.testing.assert_allclose(values.base_values[:, 0], mean, rtol=1e-5)
    assert engine.rows_at_once == INTERVENTIONAL_PAIRS // 300  # all that is planned for it, in one go


def test_a_large_jobs_batches_leave_summaries_behind_their_results_and_a_small_ones_do_not(
    runner: BatchRunner, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = scene.examples("breast-cancer", rows=60)
    jobs = []
    for sampled in (2000, 2):
        monkeypatch.setattr(summary_module, "SAMPLE_ROWS", sampled)
        jobs.append(scene.accept(rows, "breast-cancer"))
        for batch in range(6):
            runner.run(jobs[-1].id, batch)
    small, large = jobs
    for batch in range(6):
        result = scene.payloads.result(large, batch)
        summary = Summary.of_batch(large, batch, rows[batch * 10 : batch * 10 + 10], result)
        arrays = scene.payloads.summary_arrays(large, batch)
        for stored, own in zip(arrays, summary.arrays, strict=True):
            np.testing.assert_array_equal(stored, own)
        assert scene.payloads.summary_arrays(small, batch) == []
    np.testing.assert_array_equal(scene.result(large).array, scene.result(small).array)


@pytest.mark.parametrize("stops", [False, True])
def test_shap_counts_as_used_by_a_batch_that_fails_or_stops_between_two_slices(
    runner: BatchRunner, scene: Scene, monkeypatch: pytest.MonkeyPatch, *, stops: bool
) -> None:
    job = scene.accept(scene.examples(rows=10), method="interventional")

    def explain(_engine: ShapEngine, rows: Matrix) -> Explanation:
        if not stops:
            raise ValueError("a fault")
        scene.store.cancel(job.id)
        return runner.models.get("wine@1").predictor.explain(rows)

    used: list[bool] = []
    monkeypatch.setattr(ShapEngine, "explain", explain)
    monkeypatch.setattr(ShapReturn, "used", lambda _self: used.append(True))
    monkeypatch.setattr("shared.batch_plan.INTERVENTIONAL_PAIRS", 1)  # one row at once
    assert runner.run(job.id, 0) is (Claim.ENDED if stops else Outcome.FAILED)
    assert used == [True]


def test_a_job_whose_rows_were_deleted_by_a_cancel_is_not_failed(runner: BatchRunner, scene: Scene) -> None:
    job = scene.accept(scene.examples())
    scene.store.transitions.claim(job.id, 0, runner.me.name, runner.me.token)
    scene.store.cancel(job.id)
    scene.payloads.delete_job(job.id)
    assert runner.run(job.id, 0) is Claim.ENDED
    assert scene.status(job) is Status.CANCELLED


def test_a_job_whose_model_is_gone_fails_and_says_so(runner: BatchRunner, scene: Scene) -> None:
    job = scene.accept(scene.examples())
    scene.connection.hset(f"shapbox:job:{job.id}", "model", "wine@9")
    assert runner.run(job.id, 0) is Outcome.FAILED
    assert scene.detail(job, "model-not-found")


def test_a_failing_store_costs_the_batch_nothing(
    runner: BatchRunner, scene: Scene, settings: Settings
) -> None:
    job = scene.accept(scene.examples(rows=5))
    stored = settings.objects_dir / "jobs" / f"{job.id}.npy"
    stored.rename(settings.objects_dir / "aside")
    stored.symlink_to(stored)  # a circle: nothing can be read there
    for _ in range(5):  # more often than deaths are forgiven
        assert runner.run(job.id, 0) is Outcome.HANDED_BACK
    assert scene.recovery.running() == []
    stored.unlink()
    (settings.objects_dir / "aside").rename(stored)
    assert runner.run(job.id, 0) is Completion.COMPLETED


#: Runs one batch in a process of its own, which kills itself at one place.
KILLED = """
import os, signal, sys
from pathlib import Path
from threading import Event
from services.worker import batch as batch_run
from services.worker.exits import ShapReturn
from services.worker.models import WarmModels
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.appliance.counters import Counters
from shared.jobs.recovery import Recovery
from shared.jobs.store import JobStore
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect
from shared.settings import Settings

data, models, job, batch, place = sys.argv[1:]
settings = Settings(data_dir=Path(data))
connection = connect(settings, Patience.STEADY, name="doomed")
store, payloads, heartbeats = JobStore(connection, settings), Payloads.open(settings), Heartbeats(connection)

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

class Doomed(Payloads):
    def rows(self, *args):
        return die() if place == "before the input is read" else super().rows(*args)

class DoomedModels(WarmModels):
    def _load(self, *args):
        return die() if place == "in compute" else super()._load(*args)

doomed = Doomed(payloads._store)
if place == "between result and record":
    store.transitions.complete = die
counters = Counters(connection)
if place == "after the record":
    counters.observe = die
me = Heartbeat("host/worker-1", "host", os.getpid(), "doomed")
heartbeats.beat(me)
runner = batch_run.BatchRunner(
    store, doomed, DoomedModels(ModelCatalog.load(Path(models))), counters, Recovery(connection, store),
    me, Event(), ShapReturn(connection, me.token),
)
runner.run(job, int(batch))
"""


@pytest.mark.parametrize(
    "place", ["before the input is read", "in compute", "between result and record", "after the record"]
)
def test_a_worker_killed_anywhere_in_a_batch_loses_and_doubles_nothing(
    place: str, runner: BatchRunner, scene: Scene, settings: Settings
) -> None:
    rows = scene.examples()
    job = scene.accept(rows)
    command = [sys.executable, "-c", KILLED, str(settings.data_dir), str(ROOT / "models"), job.id, "1", place]

    doomed = subprocess.run(command, cwd=ROOT, check=False, timeout=120)
    assert doomed.returncode == -signal.SIGKILL
    scene.heartbeats.withdraw("host/worker-1")  # as the monitor does when supervisord reports the death
    assert scene.give_back() == (0 if place == "after the record" else 1)
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
    assert scene.store.get(job.id).error == {
        "type": "/problems/poison-batch",
        "detail": ANY,
        "rows": [10, 20],
    }


def test_a_batch_in_hand_can_be_let_go_without_counting_a_death_and_is_run_by_another(
    runner: BatchRunner, scene: Scene
) -> None:
    job = scene.accept(scene.examples())
    runner._in_hand = (job.id, 1)
    scene.store.transitions.claim(job.id, 1, runner.me.name, runner.me.token)
    runner.let_go()
    assert scene.recovery.running() == []
    assert (job.id, 1) in scene.store.queues.waiting_batches()
    assert scene.store.transitions.claim(job.id, 1, "another", "life") is Claim.RUN
    assert scene.blame(job, 1) == Blame.NONE


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


def test_a_batch_whose_objects_alone_cannot_be_had_lets_others_go_first_and_is_given_up_in_the_end(
    runner: BatchRunner, scene: Scene, settings: Settings
) -> None:
    job = scene.accept(30)
    rows = settings.objects_dir / "jobs" / job.id / "input" / "000000.npy"
    rows.unlink()
    rows.symlink_to(rows)  # a circle: it cannot be opened
    for name in scene.connection.lrange("rq:queue:bulk", 0, -1):
        assert isinstance(name, bytes)
        if name.startswith(f"{job.id}-0-".encode()):
            scene.connection.lrem("rq:queue:bulk", 0, name.decode())

    assert runner.run(job.id, 0) == Outcome.HANDED_BACK
    last = scene.connection.lindex("rq:queue:bulk", -1)
    assert isinstance(last, bytes)
    assert last.startswith(f"{job.id}-0-".encode())
    assert scene.blame(job) == Blame.UNEXPLAINED
    for _ in range(3 * Blame.DEATH - 1):
        runner.run(job.id, 0)
    assert scene.status(job) is Status.FAILED


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
def many_rows() -> Matrix:
    rows = np.random.default_rng(3).normal(size=(1200, 13)).astype(np.float32) * 10
    rows[::7, 2] = np.nan
    return rows


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


def test_a_batch_planned_for_tables_that_are_not_there_is_explained_in_slices_each_with_its_own_time(
    watch: Watch, scene: Scene, many_rows: Matrix
) -> None:
    job = scene.accept(many_rows, batch_rows=5000)
    since: list[float] = []
    worker, engine = watch(lambda _number: since.append(scene.recovery.running()[0].since))
    assert worker.run(job.id, 0) is Completion.COMPLETED
    assert engine.slices == [500, 500, 200]
    assert since[0] < since[1] < since[2]
    alone = Explanation.concatenate([engine.engine.explain(row[None]) for row in many_rows])
    np.testing.assert_array_equal(scene.result(job).array, alone.array)
    assert scene.recovery.running() == []


@pytest.mark.parametrize("deleted", [False, True])
def test_a_job_that_is_cancelled_between_two_slices_ends_the_run_and_nothing_is_held(
    watch: Watch, scene: Scene, many_rows: Matrix, *, deleted: bool
) -> None:
    job = scene.accept(many_rows, batch_rows=5000)

    def cancel(number: int) -> None:
        if number == 2:
            scene.store.cancel(job.id)
            if deleted:
                scene.store.transitions.forget(job.id)

    worker, engine = watch(cancel)
    assert worker.run(job.id, 0) is (Claim.GONE if deleted else Claim.ENDED)
    assert engine.slices == [500, 500]
    assert scene.recovery.running() == []
    assert deleted or scene.status(job) is Status.CANCELLED


def test_a_batch_that_was_given_to_another_in_the_middle_is_left_to_it(
    watch: Watch, scene: Scene, many_rows: Matrix
) -> None:
    job = scene.accept(many_rows, batch_rows=5000)

    def give_away(_number: int) -> None:
        scene.recovery.release(scene.recovery.running()[0], Blame.NONE)
        scene.store.transitions.claim(job.id, 0, "another", "life")

    worker, engine = watch(give_away)
    assert worker.run(job.id, 0) is Claim.TAKEN
    assert engine.slices == [500]
    assert [held.owner for held in scene.recovery.running()] == ["another"]


def test_a_redis_that_is_away_between_two_slices_does_not_end_the_run(
    watch: Watch, scene: Scene, many_rows: Matrix, server: RedisServer
) -> None:
    job = scene.accept(many_rows, batch_rows=5000)
    worker, engine = watch(lambda number: (server.kill, server.start)[number - 1]() if number < 3 else None)
    assert worker.run(job.id, 0) is Completion.COMPLETED
    assert engine.slices == [500, 500, 200]
    assert scene.status(job) is Status.COMPLETED
