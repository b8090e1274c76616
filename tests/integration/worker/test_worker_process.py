"""Worker processes as supervisord starts them: work, stops, restarts, shap's memory."""

from __future__ import annotations

import logging
import time

import pytest

from services.worker import __main__ as program
from shared.appliance.counters import Counters
from shared.errors import ModelFaultError
from shared.jobs.document import Job, Method, Status
from shared.jobs.recovery import Blame
from shared.memory import process_pss_bytes
from shared.redis.connection import REDIS_AWAY
from tests.integration.worker.conftest import Scene, Start
from tests.support.redis_server import RedisServer, until

#: Seconds without an interventional batch after which the worker here gives shap back.
IDLE = 1.5
#: MB that shap takes at least.
SHAP_MB = 50
#: A shorter wait until shap is given back, and a longer one of RQ's for a batch.
IMPATIENT = f"timing.TIMING = replace(timing.TIMING, shap_idle_seconds={IDLE}, rq_worker_ttl_seconds=300.0)"
#: A worker that takes so many seconds for each batch, and abandons one half a second after a stop signal.
SLOW = """
from shared.engines.xgboost_engine import XGBoostEngine
explain = XGBoostEngine.explain
def slow(self, rows):
    time.sleep({seconds} if len(rows) > 1 else 0)
    return explain(self, rows)
XGBoostEngine.explain = slow
timing.TIMING = replace(timing.TIMING, worker_drain_seconds={drain})
"""


def batch_in_hand(scene: Scene, job: Job) -> None:
    until(lambda: [held.job_id for held in scene.recovery.running()] == [job.id])


def test_a_worker_completes_a_job_in_eight_round_trips_a_batch_and_leaves_on_sigterm(
    start: Start, scene: Scene
) -> None:
    worker = start()
    before, batches, begun = scene.connection.info("stats")["total_reads_processed"], 100, time.monotonic()

    job = scene.accept(10 * batches)
    until(lambda: worker.log().count("batch explained") == batches, 240)  # asks Redis nothing
    scene.completed(job)
    trips = scene.connection.info("stats")["total_reads_processed"] - before
    # A beat takes two or three, every other second.
    assert 8 * batches <= trips < 8.5 * batches + 2 * (time.monotonic() - begun)

    worker.process.terminate()
    assert worker.end() == 0
    assert scene.heartbeats.alive() == {}
    assert [key for key in scene.connection.keys("rq:job:*") if job.id.encode() in key] == []
    explained = [line for line in worker.log().splitlines() if "batch explained" in line]
    assert all(f" request=r-1 job={job.id} batch={batch} " in explained[batch] for batch in range(batches))


def test_a_run_that_raises_is_one_record_with_the_batchs_ids(start: Start, scene: Scene) -> None:
    scene.connection.set("shapbox:running", "no hash")  # the claim fails, and nobody foresaw it
    worker = start()
    job = scene.accept()
    assert worker.end() == 1
    head, *below = worker.log().partition("batch abandoned after an unexpected error")[2].splitlines()
    assert head == f" request=r-1 job={job.id} batch=0"
    assert below[0] == "  Traceback (most recent call last):"
    assert any("WRONGTYPE" in line for line in below)
    assert "exception raised while executing" not in worker.log()  # RQ's own words


def test_a_stop_lets_the_batch_in_hand_finish_or_hands_it_back_and_a_killed_workers_runs_again(
    start: Start, scene: Scene
) -> None:
    job = scene.accept(50)
    worker = start(SLOW.format(seconds=1, drain=60))
    batch_in_hand(scene, job)
    worker.process.terminate()
    worker.process.terminate()  # somebody is impatient
    assert worker.end() == 0
    assert scene.store.get(job.id).todo == 4
    assert scene.nothing_is_held()

    worker = start(SLOW.format(seconds=300, drain=0.2))
    batch_in_hand(scene, job)
    worker.process.terminate()
    assert worker.end() == 0
    assert "worker exits during its batch" in worker.log()
    assert scene.store.get(job.id).todo == 4
    assert scene.nothing_is_held()
    assert scene.blame(job, 1) == Blame.NONE

    worker = start(SLOW.format(seconds=300, drain=60))
    batch_in_hand(scene, job)
    worker.process.kill()
    worker.end()
    start()  # under the same name
    until(scene.heartbeats.alive)
    assert scene.give_back() == 1
    scene.completed(job)


def test_a_worker_waits_for_redis_at_its_start_and_comes_back_when_redis_does(
    start: Start, scene: Scene, server: RedisServer
) -> None:
    job = scene.accept(30)
    server.kill()
    worker = start(until_it_says="waiting for Redis")
    server.start()
    scene.completed(job)
    server.kill()
    until(lambda: worker.process.poll() is not None or "edis" in worker.log().partition("worker ready")[2])
    server.start()
    job = scene.accept(30)
    # It may leave, now or later: supervisord starts it again.
    until(lambda: worker.process.poll() is not None or scene.status(job) is Status.COMPLETED, 180)
    if worker.process.poll() is not None:
        start()
    scene.completed(job)


def test_an_idle_worker_gives_shap_back_by_leaving_in_order_and_loses_no_batch(
    start: Start, scene: Scene
) -> None:
    worker = start(IMPATIENT)
    before = process_pss_bytes(worker.process.pid)
    scene.completed(scene.accept(method=Method.INTERVENTIONAL))
    assert process_pss_bytes(worker.process.pid) > before + SHAP_MB * 2**20
    loaded = time.monotonic()
    accepted: list[Job] = []
    while worker.process.poll() is None:  # it waits for most of these, and leaves between two
        accepted.append(scene.accept())
        time.sleep(0.03)
        assert time.monotonic() - loaded < 120
    assert worker.process.returncode == 0
    assert time.monotonic() - loaded > IDLE
    assert Counters(scene.connection).read()["worker_recycles_total", "shap"] == 1
    assert scene.heartbeats.alive() == {}
    assert scene.nothing_is_held()
    lean = start(IMPATIENT)
    scene.completed(*accepted)
    assert process_pss_bytes(lean.process.pid) < 110 * 2**20
    time.sleep(2 * IDLE)
    assert lean.process.poll() is None  # without shap it stays


@pytest.mark.parametrize(
    ("raised", "settings", "code", "said"),
    [
        (None, {"WORKERS": "many"}, 2, "WORKERS: 'many' is not"),
        (KeyboardInterrupt(), {}, 0, ""),
        (REDIS_AWAY[0]("refused"), {}, 0, "Redis is away"),
        (ModelFaultError("a broken model"), {}, 1, "cannot start: a broken model"),
    ],
    ids=["settings", "stopped", "no Redis", "models"],
)
def test_the_exit_code_tells_supervisord_whose_fault_it_is(
    raised: BaseException | None,
    settings: dict[str, str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def work(*_given: object) -> int:
        assert raised is not None
        raise raised

    # These would change this process, too.
    for name in ("configure_logging", "_offer_to_the_oom_killer"):
        monkeypatch.setattr(program, name, lambda *_, **__: None)
    monkeypatch.setattr("os.nice", lambda _niceness: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("os.environ", {"DATA_DIR": "/nowhere", **settings})
    monkeypatch.setattr("sys.argv", ["worker", "--name", "worker-1"])
    monkeypatch.setattr(program, "_work", work)
    with caplog.at_level(logging.INFO):
        assert program.main() == code
    assert said in caplog.text
