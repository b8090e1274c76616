"""Worker processes as supervisord starts them: how they work, stop and restart.

They also release the memory that shap uses.
"""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import shap

from services.worker import exits
from services.worker.exits import ShapReturn
from services.worker.worker import INTERACTIVE_STREAK
from shared.appliance.counters import Counters
from shared.jobs import keys
from shared.jobs.document import Job, Status
from shared.jobs.recovery import Blame
from shared.memory import process_pss_bytes
from shared.timing import TIMING
from tests.integration.worker.conftest import Scene, Start, WorkerProcess
from tests.support.redis_server import RedisServer, until

#: Seconds without an interventional batch after which the workers here give shap back.
IDLE = 1.5
#: MB that shap takes at least.
SHAP_MB = 50
#: A shorter wait until shap is given back, and a longer one of RQ's for a batch.
IMPATIENT = f"timing.TIMING = replace(timing.TIMING, shap_idle_seconds={IDLE}, rq_worker_ttl_seconds=300.0)"
#: A worker that takes a while for each slice.
SLOW = """
from shared.engines.xgboost_engine import XGBoostEngine
explain = XGBoostEngine.explain
def slow(self, rows):
    time.sleep(0.8 if len(rows) > 1 else 0)
    return explain(self, rows)
XGBoostEngine.explain = slow
"""
#: A worker that loses Redis at one place: when it records a batch's result.
LOSES_REDIS = """
import redis
from shared.jobs.transitions import Transitions
def lose(*_, **__):
    raise redis.exceptions.ConnectionError("lost while the result was recorded")
Transitions.complete = lose
"""


def test_a_worker_completes_a_job_in_eight_round_trips_a_batch_and_leaves_on_sigterm(
    start: Start, scene: Scene
) -> None:
    worker = start()
    before, batches = scene.connection.info("stats")["total_reads_processed"], 200

    job = scene.accept(10 * batches)
    until(lambda: worker.log().count("batch explained") == batches)  # asks Redis nothing
    scene.completed(job)
    # Beats are some dozens at most.
    assert 8 * batches <= scene.connection.info("stats")["total_reads_processed"] - before < 9 * batches

    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(60) == 0
    assert scene.heartbeats.alive() == {}
    assert [key for key in scene.connection.keys("rq:job:*") if job.id.encode() in key] == []
    explained = [line for line in worker.log().splitlines() if "batch explained" in line]
    assert all(f" request=r-1 job={job.id} batch={batch} " in explained[batch] for batch in range(batches))


def test_a_run_that_raises_is_one_record_with_the_batchs_ids(start: Start, scene: Scene) -> None:
    scene.connection.set("shapbox:running", "no hash")  # the claim fails, and nobody foresaw it
    worker = start()
    job = scene.accept()
    assert worker.process.wait(60) == 1
    head, *below = worker.log().partition("batch abandoned after an unexpected error")[2].splitlines()
    assert head == f" request=r-1 job={job.id} batch=0"
    assert below[0] == "  Traceback (most recent call last):"
    assert any("WRONGTYPE" in line for line in below)
    assert "exception raised while executing" not in worker.log()  # RQ's own words


def test_sigterm_lets_the_batch_at_hand_finish_and_the_others_stay_queued(start: Start, scene: Scene) -> None:
    worker = start()
    job = scene.accept(15_000)
    until(lambda: scene.store.get(job.id).todo < 1490)
    worker.process.send_signal(signal.SIGTERM)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(60) == 0
    left = scene.store.get(job.id).todo
    assert left > 0
    assert scene.connection.hlen(keys.RUNNING) == 0
    # One may be lost on its way: recovery finds it.
    assert left - len(scene.store.queues.waiting_batches()) in {0, 1}


def test_a_killed_worker_starts_again_under_its_name_and_its_batch_runs_again(
    start: Start, scene: Scene
) -> None:
    worker = start()
    job = scene.accept(8000)
    until(lambda: scene.connection.hlen(keys.RUNNING) == 1 and scene.store.get(job.id).todo < 790)
    worker.process.kill()
    worker.process.wait()
    start()
    scene.give_back()
    scene.recovery.requeue_lost(at_once=True)  # one that was lost between dequeue and claim
    scene.completed(job)


def test_a_worker_comes_back_when_redis_does(start: Start, scene: Scene, server: RedisServer) -> None:
    worker = start()
    server.kill()
    until(lambda: worker.process.poll() is not None or "edis" in worker.log().partition("worker ready")[2])
    server.start()
    job = scene.accept(30)

    def finished() -> bool:
        if worker.process.poll() is not None:  # it may leave: supervisord starts it again
            start()
        return scene.status(job) is Status.COMPLETED

    until(finished)


def test_a_huge_job_does_not_starve_small_ones_nor_they_it(start: Start, scene: Scene) -> None:
    bulk = scene.accept(400)
    small = [scene.accept() for _ in range(5 * INTERACTIVE_STREAK)]
    start()
    scene.completed(bulk, *small)
    ends = {job.id: scene.store.get(job.id).finished_at or 0 for job in (bulk, *small)}
    assert max(ends[job.id] for job in small) < ends[bulk.id]
    # Bulk moved while interactive batches waited.
    log = [line for line in start().log().splitlines() if "batch explained" in line]
    first_bulk = next(place for place, line in enumerate(log) if bulk.id in line)
    last_small = max(place for place, line in enumerate(log) if bulk.id not in line)
    assert first_bulk < last_small


def test_a_batch_whose_record_redis_did_not_take_is_not_left_in_a_living_workers_hands(
    start: Start, scene: Scene
) -> None:
    doomed = start(LOSES_REDIS)
    job = scene.accept(50)
    doomed.process.wait(60)
    assert (
        scene.store.get(job.id).todo == 5
    )  # it left after the first, which is still written down as its own
    start()
    until(scene.heartbeats.alive)
    scene.give_back(Blame.NONE)
    scene.completed(job)


def test_rq_does_not_break_a_batch_off_whose_slices_together_take_longer_than_a_batch_may(
    start: Start, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.store.queues, "_timeout", 2)  # seconds: less than three slices take
    job = scene.accept(1200, batch_rows=5000)
    start(SLOW)
    scene.completed(job)
    assert scene.blame(job) == 0


# --- Giving shap's memory back ---


def load_shap(worker: WorkerProcess, scene: Scene) -> None:
    """Have a worker explain an interventional batch, and see that this takes memory."""
    before = process_pss_bytes(worker.process.pid)
    scene.completed(scene.accept(method="interventional"))
    assert process_pss_bytes(worker.process.pid) > before + SHAP_MB * 2**20


def recycles(scene: Scene) -> float:
    return Counters(scene.connection).read().get(("worker_recycles_total", "shap"), 0)


def test_an_idle_worker_gives_shap_back_by_leaving_in_order_and_loses_no_batch(
    start: Start, scene: Scene
) -> None:
    worker = start(IMPATIENT)
    load_shap(worker, scene)
    loaded = time.monotonic()
    accepted: list[Job] = []
    while worker.process.poll() is None:  # it waits for most of these, and leaves between two
        accepted.append(scene.accept())
        time.sleep(0.03)
        assert time.monotonic() - loaded < 120
    assert worker.process.returncode == 0
    assert time.monotonic() - loaded > IDLE
    assert recycles(scene) == 1
    assert scene.heartbeats.alive() == {}
    # Nothing is held, and all that is to do waits: recovery has nothing to find.
    assert scene.connection.hlen(keys.RUNNING) == 0
    assert scene.todo() == scene.store.queues.waiting_batches()
    lean = start(IMPATIENT)
    scene.completed(*accepted)
    assert process_pss_bytes(lean.process.pid) < 110 * 2**20
    time.sleep(2 * IDLE)
    assert lean.process.poll() is None  # without shap it stays


@pytest.mark.parametrize("batches", [0, 3000], ids=["idle", "busy"])
def test_a_worker_leaves_though_nothing_wakes_it_and_between_two_batches(
    start: Start, scene: Scene, batches: int
) -> None:
    job = scene.accept(10 * batches) if batches else None
    worker = start(IMPATIENT)
    load_shap(worker, scene)  # a single batch goes first
    assert worker.process.wait(120) == 0  # RQ's own wait is minutes long
    assert recycles(scene) == 1
    assert scene.connection.hlen(keys.RUNNING) == 0
    assert scene.todo() == scene.store.queues.waiting_batches()
    if job:
        assert 0 < scene.store.get(job.id).todo < batches
        assert not scene.connection.exists(keys.deaths(job.id))


def test_shap_is_kept_while_it_is_used_and_given_back_by_one_at_a_time_and_never_without_redis(
    scene: Scene, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shap  # it is loaded, here as well
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
