import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

from services.worker.batch import BatchRunner, Outcome
from services.worker.exits import ShapReturn
from services.worker.models import WarmModels
from shared.appliance.heartbeats import Heartbeats
from shared.engines.lean_xgboost import import_xgboost, load_booster
from shared.engines.shap_engine import ShapEngine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.explanation import Explanation
from shared.jobs import keys
from shared.jobs.document import Job, Method, Status
from shared.jobs.ids import new_job_id
from shared.jobs.recovery import Blame, Recovery
from shared.jobs.store import JobStore
from shared.jobs.transitions import Claim, Completion
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.settings import Settings
from shared.summary import summary as summary_module
from shared.summary.summary import Summary

ROOT = Path(__file__).parents[3]


@pytest.fixture
def accept(store: JobStore, payloads: Payloads, catalog: ModelCatalog) -> Callable[..., Job]:
    def accept(rows: NDArray[np.float32], model: str, method: str = "tree_path_dependent") -> Job:
        version = catalog.get(model)
        job = Job(
            id=new_job_id(),
            model=version.id,
            method=Method(method),
            rows=len(rows),
            batch_rows=10,
            features=len(version.features),
            outputs=len(version.outputs),
            created_at=time.time(),
        )
        for batch in range(job.batches):
            wanted = job.rows_of(batch)
            payloads.put_rows(job, batch, rows[wanted.start : wanted.stop])
        return store.accept(job).job

    return accept


def examples(catalog: ModelCatalog, model: str, rows: int = 25) -> NDArray[np.float32]:
    path = catalog.get(model).examples_path
    assert path is not None
    matrix: NDArray[np.float32] = np.load(path)[:rows].copy()
    matrix[3, 2] = np.nan
    return matrix


def reference(catalog: ModelCatalog, model: str, rows: NDArray[np.float32], **what: bool) -> Any:
    version = catalog.get(model)
    data = import_xgboost().DMatrix(rows, feature_names=list(version.features), nthread=1)
    return load_booster(version.model_path).predict(data, **what)


def results(payloads: Payloads, job: Job) -> Explanation:
    return Explanation.concatenate([payloads.result(job, batch) for batch in range(job.batches)])


@pytest.mark.parametrize("model", ["breast-cancer", "wine", "diabetes"])
def test_values_are_xgboosts_own_for_one_and_several_outputs_and_missing_values(
    runner: BatchRunner, accept: Callable[..., Job], payloads: Payloads, catalog: ModelCatalog, model: str
) -> None:
    rows = examples(catalog, model)
    job = accept(rows, model)

    outcomes = [runner.run(job.id, batch) for batch in range(job.batches)]

    assert outcomes == [Completion.RECORDED, Completion.RECORDED, Completion.COMPLETED]
    stored = results(payloads, job)
    wanted = reference(catalog, model, rows, pred_contribs=True)
    np.testing.assert_array_equal(stored.contributions.reshape(wanted.shape), wanted)
    margins = reference(catalog, model, rows, output_margin=True)
    np.testing.assert_array_equal(stored.margins.reshape(margins.shape), margins)


def test_a_large_jobs_batches_leave_summaries_behind_their_results_and_a_small_ones_do_not(
    runner: BatchRunner,
    accept: Callable[..., Job],
    payloads: Payloads,
    catalog: ModelCatalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = examples(catalog, "breast-cancer", rows=60)
    jobs = []
    for sampled in (2, 2000):
        monkeypatch.setattr(summary_module, "SAMPLE_ROWS", sampled)
        jobs.append(accept(rows, "breast-cancer"))
        for batch in range(6):
            runner.run(jobs[-1].id, batch)
    large, small = jobs

    monkeypatch.setattr(summary_module, "SAMPLE_ROWS", 2)
    for batch in range(6):
        wanted = slice(batch * 10, batch * 10 + 10)
        result = payloads.result(large, batch)
        summary = Summary.of_batch(large, batch, rows[wanted], result)
        arrays = payloads.summary_arrays(large, batch)
        for stored, own in zip(arrays, summary.arrays, strict=True):
            np.testing.assert_array_equal(stored, own)
        assert payloads.summary_arrays(small, batch) == []
    np.testing.assert_array_equal(results(payloads, large).array, results(payloads, small).array)


@pytest.mark.parametrize("model", ["breast-cancer", "wine", "diabetes"])
def test_interventional_values_add_up_from_the_mean_over_the_whole_background(
    runner: BatchRunner, accept: Callable[..., Job], payloads: Payloads, catalog: ModelCatalog, model: str
) -> None:
    job = accept(examples(catalog, model, rows=5), model, "interventional")

    assert runner.run(job.id, 0) is Completion.COMPLETED

    stored = results(payloads, job)
    scale = np.abs(stored.array).max()
    np.testing.assert_allclose(stored.contributions.sum(axis=2), stored.margins, atol=1e-5 * scale)
    background = np.load(catalog.get(model).background_path or "")
    means = (
        reference(catalog, model, background, output_margin=True).reshape(len(background), -1).mean(axis=0)
    )
    np.testing.assert_allclose(stored.base_values, np.tile(means, (5, 1)), rtol=1e-5, atol=1e-5)


def test_a_background_of_more_than_100_rows_is_used_to_its_last_row() -> None:
    generator = np.random.default_rng(5)
    rows = generator.normal(size=(300, 4)).astype(np.float32)
    xgboost = import_xgboost()
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(rows, rows @ [1, 2, 3, 4]), 10)

    values = ShapEngine(XGBoostEngine(booster, outputs=1), rows, outputs=1).explain(rows[:3])

    mean = booster.predict(xgboost.DMatrix(rows), output_margin=True).mean()
    np.testing.assert_allclose(values.base_values[:, 0], mean, rtol=1e-5)


@pytest.mark.parametrize("stops", [False, True])
def test_shap_counts_as_used_by_a_batch_that_fails_or_stops_between_two_slices(
    runner: BatchRunner,
    accept: Callable[..., Job],
    catalog: ModelCatalog,
    store: JobStore,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stops: bool,
) -> None:
    job = accept(examples(catalog, "wine", rows=10), "wine", "interventional")

    def explain(_engine: ShapEngine, rows: NDArray[np.float32]) -> Explanation:
        if not stops:
            raise ValueError("a fault")
        store.cancel(job.id)
        return runner.models.get("wine@1").predictor.explain(rows)

    used: list[bool] = []
    monkeypatch.setattr(ShapEngine, "explain", explain)
    monkeypatch.setattr(ShapReturn, "used", lambda _self: used.append(True))
    monkeypatch.setattr("shared.batch_plan.INTERVENTIONAL_PAIRS", 1)  # one row at once
    assert runner.run(job.id, 0) is (Claim.ENDED if stops else Outcome.FAILED)
    assert used == [True]


def test_a_job_whose_rows_were_deleted_by_a_cancel_is_not_failed(
    runner: BatchRunner,
    accept: Callable[..., Job],
    payloads: Payloads,
    store: JobStore,
    catalog: ModelCatalog,
) -> None:
    job = accept(examples(catalog, "wine"), "wine")
    store.transitions.claim(job.id, 0, runner.me.name, runner.me.token)
    store.cancel(job.id)
    payloads.delete_job(job.id)

    assert runner.run(job.id, 0) is Claim.ENDED
    assert store.get(job.id).status is Status.CANCELLED


def test_a_job_whose_model_is_gone_fails_and_says_so(
    runner: BatchRunner,
    accept: Callable[..., Job],
    store: JobStore,
    catalog: ModelCatalog,
    connection: redis.Redis,
) -> None:
    job = accept(examples(catalog, "wine"), "wine")
    connection.hset(f"shapbox:job:{job.id}", "model", "wine@9")

    assert runner.run(job.id, 0) is Outcome.FAILED

    failed = store.get(job.id)
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error["type"] == "/problems/model-not-found"


def test_a_failing_store_costs_the_batch_nothing(
    runner: BatchRunner,
    accept: Callable[..., Job],
    store: JobStore,
    catalog: ModelCatalog,
    recovery: Recovery,
    settings: Settings,
) -> None:
    job = accept(examples(catalog, "wine", rows=5), "wine")
    stored = settings.objects_dir / "jobs" / f"{job.id}.npy"
    stored.rename(settings.objects_dir / "aside")
    stored.symlink_to(stored)  # a circle: nothing can be read there

    for _ in range(5):  # more often than deaths are forgiven
        assert runner.run(job.id, 0) is Outcome.HANDED_BACK

    assert recovery.running() == []
    stored.unlink()
    (settings.objects_dir / "aside").rename(stored)
    assert runner.run(job.id, 0) is Completion.COMPLETED
    assert store.get(job.id).status is Status.COMPLETED


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
from shared.jobs import keys
from shared.jobs.recovery import Blame, Recovery
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
def test_a_worker_killed_anywhere_in_a_batch_loses_and_doubles_nothing(  # the place is the test
    place: str,
    runner: BatchRunner,
    accept: Callable[..., Job],
    store: JobStore,
    payloads: Payloads,
    catalog: ModelCatalog,
    recovery: Recovery,
    connection: redis.Redis,
    settings: Settings,
) -> None:
    rows = examples(catalog, "wine")
    job = accept(rows, "wine")
    command = [sys.executable, "-c", KILLED, str(settings.data_dir), str(ROOT / "models"), job.id, "1", place]

    doomed = subprocess.run(command, cwd=ROOT, check=False, timeout=60)
    assert doomed.returncode == -signal.SIGKILL
    Heartbeats(connection).withdraw("host/worker-1")  # as the monitor does when supervisord reports the death
    released = [recovery.release(o, Blame.DEATH) for o in recovery.orphans(Heartbeats(connection).alive())]

    assert len(released) == (0 if place == "after the record" else 1)
    for batch in range(job.batches):
        runner.run(job.id, batch)
    assert store.get(job.id).status is Status.COMPLETED
    wanted = reference(catalog, "wine", rows, pred_contribs=True)
    np.testing.assert_array_equal(results(payloads, job).contributions, wanted)
    assert connection.hget("shapbox:counters", "rows_explained_total|wine@1") == b"25"


class Greedy(WarmModels):
    def _load(self, model_id: str) -> Any:
        raise MemoryError(model_id)


def test_a_batch_that_needs_more_memory_than_a_worker_may_take_counts_a_death_and_the_worker_leaves(
    runner: BatchRunner,
    accept: Callable[..., Job],
    catalog: ModelCatalog,
    store: JobStore,
    connection: redis.Redis,
) -> None:
    job = accept(examples(catalog, "wine"), "wine")
    runner.stopping.clear()
    greedy = replace(runner, models=Greedy(catalog))

    assert greedy.run(job.id, 1) is Outcome.HANDED_BACK
    assert runner.stopping.is_set()
    assert connection.hget(keys.deaths(job.id), "1") == b"4"
    for _ in range(2):
        greedy.run(job.id, 1)
    assert store.get(job.id).status is Status.FAILED
    assert store.get(job.id).error == {
        "type": "/problems/poison-batch",
        "detail": ANY,
        "rows": [10, 20],
    }


def test_a_batch_in_hand_can_be_let_go_without_counting_a_death_and_is_run_by_another(
    runner: BatchRunner,
    accept: Callable[..., Job],
    catalog: ModelCatalog,
    store: JobStore,
    recovery: Recovery,
) -> None:
    job = accept(examples(catalog, "wine"), "wine")
    runner._in_hand = (job.id, 1)
    store.transitions.claim(job.id, 1, runner.me.name, runner.me.token)

    runner.let_go()

    assert recovery.running() == []
    assert (job.id, 1) in store.queues.waiting_batches()
    assert store.transitions.claim(job.id, 1, "another", "life") is Claim.RUN


def test_a_model_damaged_after_boot_costs_its_own_jobs_and_no_other(
    runner: BatchRunner, accept: Callable[..., Job], store: JobStore, catalog: ModelCatalog, tmp_path: Path
) -> None:
    shutil.copytree(
        ROOT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("*.py", "__pycache__")
    )
    damaged = tmp_path / "models" / "wine" / "1" / "model.ubj"
    models = WarmModels(ModelCatalog.load(tmp_path / "models"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    models.warm_up()
    worker = replace(runner, models=models)
    wine, diabetes = (
        accept(examples(catalog, "wine", 5), "wine"),
        accept(examples(catalog, "diabetes", 5), "diabetes"),
    )

    assert worker.run(wine.id, 0) is Outcome.FAILED
    assert worker.run(diabetes.id, 0) is Completion.COMPLETED
    assert "truncated" in str(store.get(wine.id).error)


def test_a_batch_whose_objects_alone_cannot_be_had_lets_others_go_first_and_is_given_up_in_the_end(
    runner: BatchRunner,
    accept: Callable[..., Job],
    store: JobStore,
    settings: Settings,
    connection: redis.Redis,
) -> None:
    job = accept(np.zeros((30, 13), np.float32), "wine")
    rows = settings.objects_dir / "jobs" / job.id / "input" / "000000.npy"
    rows.unlink()
    rows.symlink_to(rows)  # a circle: it cannot be opened
    for name in connection.lrange("rq:queue:bulk", 0, -1):
        assert isinstance(name, bytes)
        if name.startswith(f"{job.id}-0-".encode()):
            connection.lrem("rq:queue:bulk", 0, name.decode())

    assert runner.run(job.id, 0) == Outcome.HANDED_BACK
    last = connection.lindex("rq:queue:bulk", -1)
    assert isinstance(last, bytes)
    assert last.startswith(f"{job.id}-0-".encode())
    assert connection.hget(keys.deaths(job.id), "0") == str(int(Blame.UNEXPLAINED)).encode()

    for _ in range(3 * Blame.DEATH - 1):
        runner.run(job.id, 0)
    assert store.get(job.id).status is Status.FAILED
