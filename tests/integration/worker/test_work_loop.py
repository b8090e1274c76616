"""The worker's loop in this process: order of batches, reasons to exit, heartbeats."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from rq.exceptions import StopRequested

from services.worker import exits, heartbeat
from services.worker.batch import BatchRunner
from services.worker.exits import ShapReturn
from services.worker.heartbeat import HeartbeatThread
from services.worker.models import WarmModels
from services.worker.worker import INTERACTIVE_STREAK, BatchWorker
from shared.build import ROOT
from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import EngineError
from shared.explanation import Explanation, Matrix
from shared.jobs import keys
from shared.jobs.document import Method
from shared.jobs.transitions import Transitions
from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.catalog import ModelCatalog
from shared.timing import TIMING
from tests.integration.worker.conftest import Scene
from tests.support.redis_server import RedisServer, until

type MakeWorker = Callable[..., BatchWorker]


@pytest.fixture
def make_worker(runner: BatchRunner, scene: Scene) -> Iterator[MakeWorker]:
    def make(memory_limit_mb: int = 10_000, **parts: Any) -> BatchWorker:
        own = replace(runner, **parts)
        beats = HeartbeatThread(scene.heartbeats, own.me, own.counters)
        return BatchWorker(scene.connection, own, beats, memory_limit_mb)

    runner.stopping.clear()
    kept = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    yield make
    for number, handler in kept:  # RQ has installed its own
        signal.signal(number, handler)


def run_next(worker: BatchWorker) -> str:
    """Run the next batch and return its job."""
    found = worker.dequeue_job_and_maintain_ttl(5)
    assert found is not None
    worker.execute_job(*found)
    return str(found[0].args[0])


def raising(fault: Exception) -> Callable[..., Any]:
    def give(*_given: object, **_named: object) -> Any:
        raise fault

    return give


def test_a_huge_job_does_not_starve_small_ones_nor_they_it(make_worker: MakeWorker, scene: Scene) -> None:
    bulk = scene.accept(60)
    small = [scene.accept() for _ in range(3 * INTERACTIVE_STREAK)]
    worker = make_worker()
    runs = [run_next(worker) for _ in range(bulk.batches + len(small))]
    at_bulk = [place for place, job_id in enumerate(runs) if job_id == bulk.id]
    assert at_bulk[:2] == [INTERACTIVE_STREAK, 2 * INTERACTIVE_STREAK + 1]
    assert at_bulk[3:] == list(range(len(runs) - 3, len(runs)))
    scene.completed(bulk, *small)
    assert scene.connection.keys("rq:job:*") == []  # nothing is left in RQ
    assert not scene.connection.exists("rq:wip:interactive")
    assert not worker.broken
    assert not worker._stop_requested


@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        (MemoryError(), True),
        (redis.exceptions.ResponseError("WRONGTYPE"), True),
        (redis.exceptions.ConnectionError(), False),
        (redis.exceptions.ResponseError("MISCONF Redis is configured to save, and cannot"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_worker_exits_after_a_run_that_raised_in_order_only_if_redis_is_away(
    make_worker: MakeWorker, scene: Scene, monkeypatch: pytest.MonkeyPatch, *, fault: Exception, broken: bool
) -> None:
    worker = make_worker()
    scene.accept()
    with monkeypatch.context() as patch:
        patch.setattr(Transitions, "claim" if broken else "complete", raising(fault))
        run_next(worker)
    assert worker.broken is broken
    assert worker._stop_requested
    # RQ records a failure only if Redis is there to record it.
    assert any(scene.connection.scan_iter("rq:failed:*")) is broken
    if not broken:
        assert scene.give_back() == 1  # still claimed by the process that is gone
    assert scene.recovery.running() == []


def test_a_worker_whose_redis_refuses_writes_exits_in_order(make_worker: MakeWorker, scene: Scene) -> None:
    worker = make_worker()
    scene.connection.config_set("min-replicas-to-write", 1)
    for step in (
        lambda: worker.check_for_suspension(burst=False),
        worker.run_maintenance_tasks,
        lambda: worker.dequeue_job_and_maintain_ttl(5),
    ):
        with pytest.raises(StopRequested):
            step()
    assert not worker.broken


def test_a_worker_that_has_grown_beyond_its_limit_exits_after_its_batch(
    make_worker: MakeWorker, runner: BatchRunner, scene: Scene
) -> None:
    worker, job = make_worker(memory_limit_mb=1), scene.accept()
    run_next(worker)
    scene.completed(job)
    assert worker._stop_requested
    assert not worker.broken
    runner.counters.flush()
    assert runner.counters.read()["worker_recycles_total", "self"] == 1


def test_rq_does_not_break_a_batch_off_whose_slices_together_take_longer_than_a_batch_may(
    make_worker: MakeWorker, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain = XGBoostEngine.explain

    def slow(engine: XGBoostEngine, rows: Matrix) -> Explanation:
        time.sleep(0.5)
        return explain(engine, rows)

    monkeypatch.setattr(XGBoostEngine, "explain", slow)
    monkeypatch.setattr(scene.store.queues, "_timeout", 1)  # second: less than three slices take
    job = scene.accept(1200, batch_rows=5000)
    run_next(make_worker())
    scene.completed(job)
    assert scene.blame(job) == 0


# --- Returning shap's memory ---


@pytest.mark.parametrize("batches", [0, 50], ids=["idle", "busy"])
def test_a_worker_returns_shap_though_nothing_wakes_it_and_between_two_batches(
    make_worker: MakeWorker, scene: Scene, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    monkeypatch.setitem(sys.modules, "shap", sys)  # as if it were loaded
    job = scene.accept(10 * batches) if batches else None
    timing = replace(TIMING, shap_idle_seconds=0.05)
    worker = make_worker(shap_return=ShapReturn(scene.connection, "token", timing))
    worker.work(logging_level="WARNING")  # RQ's own wait is longer
    assert scene.nothing_is_held()
    assert job is None or 0 < scene.store.get(job.id).todo < batches


def test_shap_is_kept_while_it_is_used_and_given_back_by_one_at_a_time_and_never_without_redis(
    scene: Scene, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shap", sys)
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(exits, "time", SimpleNamespace(monotonic=lambda: clock.now))
    timing = replace(TIMING, shap_turn_seconds=1.0)
    first, second = (ShapReturn(scene.connection, token, timing) for token in ("process-1", "process-2"))
    assert not first.is_due()  # it has not used it
    for _ in range(5):  # a stream of batches
        clock.now += 0.9 * timing.shap_idle_seconds
        assert not first.is_due()
        first.used()
        second.used()
    clock.now += timing.shap_idle_seconds
    started = time.monotonic()
    assert first.is_due()
    assert not second.is_due()
    until(second.is_due)
    assert time.monotonic() - started > 0.9
    server.kill()
    assert not second.is_due()
    server.start()
    scene.connection.delete(keys.SHAP_TURN)
    assert second.is_due()


# --- Heartbeats, and models without an engine ---


def test_a_heartbeat_goes_on_after_any_fault_and_ends_though_redis_is_away(
    runner: BatchRunner, scene: Scene, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "TIMING", replace(TIMING, heartbeat_interval_seconds=0.01))
    beats = HeartbeatThread(scene.heartbeats, runner.me, runner.counters)
    beats.start()
    flush, faults = runner.counters.flush, [ValueError("odd"), redis.exceptions.ConnectionError()]
    monkeypatch.setattr(
        type(runner.counters), "flush", lambda _: raising(faults.pop())() if faults else flush()
    )
    beats.state = "busy"
    until(lambda: not faults)
    scene.heartbeats.withdraw(runner.me.name)
    until(lambda: [one.state for one in scene.heartbeats.alive().values()] == ["busy"])
    server.kill()
    beats.stop()


def test_a_method_or_interactions_without_an_engine_are_refused_with_the_reason() -> None:
    refused = {kind: MethodRecord(None, "too large") for kind in ExplanationKind}
    activations = Activations("xgboost", {"wine@1": VersionRecord("key", State.READY, methods=refused)})
    model = WarmModels(ModelCatalog.load(ROOT / "models", activations=activations)).get("wine@1")
    for method in Method:
        with pytest.raises(EngineError, match="too large"):
            model.engine(method)
    with pytest.raises(EngineError, match="too large"):
        _ = model.interaction_engine
