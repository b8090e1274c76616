from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import redis
import shap

from services.worker.exits import ShapReturn
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeats
from shared.jobs import keys
from shared.jobs.document import Job, Method, Status
from shared.jobs.store import JobStore
from shared.memory import process_pss_bytes
from shared.timing import TIMING
from tests.integration.redis_server import RedisServer
from tests.integration.worker.conftest import WorkerProcess

#: Seconds without an interventional batch after which the workers here give shap back.
IDLE = 2.0
#: MB that shap takes at least.
SHAP_MB = 50

type Start = Callable[..., WorkerProcess]
type Accept = Callable[..., Job]
type WaitUntil = Callable[..., float]


def todo(store: JobStore) -> set[tuple[str, int]]:
    return {(job.id, batch) for job in store.active() for batch in store.todo(job.id)}


def recycles(connection: redis.Redis) -> float:
    return Counters(connection).read().get(("worker_recycles_total", "shap"), 0)


def load_shap(worker: WorkerProcess, accept: Accept, store: JobStore, wait_until: WaitUntil) -> None:
    """Have a worker explain an interventional batch, and see that this takes memory."""
    before = process_pss_bytes(worker.process.pid)
    job = accept(1, Method.INTERVENTIONAL)
    wait_until(lambda: store.get(job.id).status is Status.COMPLETED, seconds=60)
    assert process_pss_bytes(worker.process.pid) > before + SHAP_MB * 2**20


def test_an_idle_worker_gives_shap_back_by_leaving_in_order_and_loses_no_batch(
    start: Start, accept: Accept, store: JobStore, connection: redis.Redis, wait_until: WaitUntil
) -> None:
    worker = start(IDLE)
    load_shap(worker, accept, store, wait_until)
    loaded = time.monotonic()
    accepted = []
    while worker.process.poll() is None:  # it waits for most of these, and leaves between two
        accepted.append(accept(1))
        time.sleep(0.03)
        assert time.monotonic() - loaded < 60
    assert worker.process.returncode == 0
    assert time.monotonic() - loaded > IDLE
    assert recycles(connection) == 1
    assert Heartbeats(connection).alive() == {}
    # Nothing is held, and all that is to do waits: recovery has nothing to find.
    assert connection.hlen(keys.RUNNING) == 0
    assert todo(store) == store.queues.waiting_batches()

    lean = start(IDLE)
    wait_until(lambda: all(store.get(job.id).status is Status.COMPLETED for job in accepted))
    assert process_pss_bytes(lean.process.pid) < 110 * 2**20


def test_an_idle_worker_leaves_though_nothing_wakes_it(
    start: Start, accept: Accept, store: JobStore, connection: redis.Redis, wait_until: WaitUntil
) -> None:
    worker = start(IDLE)
    load_shap(worker, accept, store, wait_until)
    assert worker.process.wait(60) == 0  # RQ's own wait is minutes long
    assert recycles(connection) == 1


def test_a_busy_worker_leaves_between_two_batches(
    start: Start, accept: Accept, store: JobStore, connection: redis.Redis, wait_until: WaitUntil
) -> None:
    job = accept(3000)
    worker = start(IDLE)
    load_shap(worker, accept, store, wait_until)  # a single batch goes first
    assert worker.process.wait(60) == 0
    assert 0 < store.get(job.id).todo < 3000
    assert connection.hlen(keys.RUNNING) == 0
    assert todo(store) == store.queues.waiting_batches()
    assert not connection.exists(keys.deaths(job.id))


def test_a_stream_of_interventional_batches_keeps_shap(
    start: Start, accept: Accept, store: JobStore, wait_until: WaitUntil
) -> None:
    idle = 3 * IDLE  # a busy machine may take some time for a batch
    worker = start(idle)
    load_shap(worker, accept, store, wait_until)
    until = time.monotonic() + 1.5 * idle
    while time.monotonic() < until:
        accept(1, Method.INTERVENTIONAL)
        time.sleep(IDLE / 4)
    assert worker.process.poll() is None
    assert worker.process.wait(60) == 0


def test_a_worker_without_shap_stays(
    start: Start, accept: Accept, store: JobStore, wait_until: WaitUntil
) -> None:
    worker = start(IDLE)
    job = accept(3)
    wait_until(lambda: store.get(job.id).status is Status.COMPLETED)
    time.sleep(2 * IDLE)
    assert worker.process.poll() is None


def test_two_workers_do_not_give_it_back_at_once(connection: redis.Redis, wait_until: WaitUntil) -> None:
    assert shap  # it is loaded, here as well
    timing = replace(TIMING, shap_idle_seconds=0.0, shap_turn_seconds=2.0)
    first, second = (ShapReturn(connection, token, timing) for token in ("process-1", "process-2"))
    assert not first.is_due()  # it has not used it
    first.used()
    second.used()
    started = time.monotonic()
    assert first.is_due()
    assert not second.is_due()
    wait_until(second.is_due)
    assert time.monotonic() - started > 1.9


def test_without_redis_nobody_leaves_for_it(connection: redis.Redis, server: RedisServer) -> None:
    given_back = ShapReturn(connection, "process-1", replace(TIMING, shap_idle_seconds=0.0))
    given_back.used()
    server.kill()
    assert not given_back.is_due()
    server.start()
    assert given_back.is_due()
