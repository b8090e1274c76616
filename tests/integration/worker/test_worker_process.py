import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import redis

from services.worker.worker import INTERACTIVE_STREAK
from shared.appliance.heartbeats import Heartbeats
from shared.jobs.document import Job, Status
from shared.jobs.recovery import Blame, Recovery
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.integration.worker.conftest import WorkerProcess

ROOT = Path(__file__).parents[3]


def test_a_worker_completes_a_job_and_leaves_on_sigterm(
    start: Callable[[], WorkerProcess],
    accept: Callable[[int], Job],
    store: JobStore,
    connection: redis.Redis,
    wait_until: Callable[..., float],
) -> None:
    worker = start()
    job = accept(5)
    wait_until(lambda: store.get(job.id).status is Status.COMPLETED)

    worker.process.send_signal(signal.SIGTERM)

    assert worker.process.wait(timeout=60) == 0
    assert Heartbeats(connection).alive() == {}
    assert [key for key in connection.keys("rq:job:*") if job.id.encode() in key] == []
    explained = [line for line in worker.log.read_text().splitlines() if "batch explained" in line]
    assert len(explained) == 5
    assert all(f" request=r-1 job={job.id} batch={batch} " in explained[batch] for batch in range(5))


def test_a_batch_takes_eight_round_trips_to_redis(
    start: Callable[[], WorkerProcess],
    accept: Callable[[int], Job],
    store: JobStore,
    connection: redis.Redis,
    wait_until: Callable[..., float],
) -> None:
    worker = start()
    before, batches = connection.info("stats")["total_reads_processed"], 200

    job = accept(batches)
    wait_until(lambda: worker.log.read_text().count("batch explained") == batches)  # asks Redis nothing
    wait_until(lambda: store.get(job.id).status is Status.COMPLETED)

    # Beats are some dozens at most.
    assert 8 * batches <= connection.info("stats")["total_reads_processed"] - before < 9 * batches


def test_a_run_that_raises_is_one_record_with_the_batchs_ids(
    start: Callable[[], WorkerProcess],
    accept: Callable[[int], Job],
    connection: redis.Redis,
) -> None:
    connection.set("shapbox:running", "no hash")  # the claim fails, and nobody foresaw it
    worker = start()
    job = accept(1)

    assert worker.process.wait(timeout=60) == 1

    head, *below = (
        worker.log.read_text().partition("batch abandoned after an unexpected error")[2].splitlines()
    )
    assert head == f" request=r-1 job={job.id} batch=0"
    assert below[0] == "  Traceback (most recent call last):"
    assert any("WRONGTYPE" in line for line in below)
    assert "exception raised while executing" not in worker.log.read_text()  # RQ's own words


def test_sigterm_lets_the_batch_at_hand_finish_and_the_others_stay_queued(
    start: Callable[[], WorkerProcess],
    accept: Callable[[int], Job],
    store: JobStore,
    connection: redis.Redis,
    wait_until: Callable[..., float],
) -> None:
    worker = start()
    job = accept(1500)
    wait_until(lambda: store.get(job.id).todo < 1490)

    worker.process.send_signal(signal.SIGTERM)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(timeout=60) == 0

    left = store.get(job.id).todo
    assert left > 0
    assert connection.hlen("shapbox:running") == 0
    assert left - len(store.queues.waiting_batches()) in {
        0,
        1,
    }  # one may be lost on its way: recovery finds it


def test_a_killed_worker_starts_again_under_its_name_and_gives_its_batch_back(
    start: Callable[[], WorkerProcess],
    accept: Callable[[int], Job],
    store: JobStore,
    connection: redis.Redis,
    wait_until: Callable[..., float],
) -> None:
    worker = start()
    job = accept(800)
    wait_until(lambda: connection.hlen("shapbox:running") == 1 and store.get(job.id).todo < 790)
    worker.process.kill()
    worker.process.wait()

    start()
    recovery = Recovery(connection, store)
    for orphan in recovery.orphans(Heartbeats(connection).alive()):  # as the monitor does
        recovery.release(orphan, Blame.DEATH)

    # The monitor would also find a batch that was lost between dequeue and claim.
    recovery.requeue_lost(at_once=True)
    wait_until(lambda: store.get(job.id).status is Status.COMPLETED, seconds=60)


def test_a_worker_comes_back_when_redis_does(
    start: Callable[[], WorkerProcess],
    accept: Callable[[int], Job],
    store: JobStore,
    server: object,
    wait_until: Callable[..., float],
) -> None:
    worker = start()
    server.kill()  # type: ignore[attr-defined]  # the fixture's RedisServer
    time.sleep(0.5)
    server.start()  # type: ignore[attr-defined]
    job = accept(3)

    def finished() -> bool:
        if worker.process.poll() is not None:  # it may leave: supervisord starts it again
            start()
        return store.get(job.id).status is Status.COMPLETED

    wait_until(finished, seconds=60)


def test_a_huge_job_does_not_starve_small_ones_nor_they_it(
    start: Callable[[], WorkerProcess],
    accept: Callable[[int], Job],
    store: JobStore,
    wait_until: Callable[..., float],
) -> None:
    bulk = accept(40)
    small = [accept(1) for _ in range(5 * INTERACTIVE_STREAK)]
    start()

    wait_until(lambda: sum(store.get(job.id).status.ended for job in small) >= 2 * INTERACTIVE_STREAK)
    assert store.get(bulk.id).todo < 40  # bulk moves while interactive batches wait
    wait_until(lambda: all(store.get(job.id).status.ended for job in [bulk, *small]), seconds=60)
    assert max(store.get(job.id).finished_at or 0 for job in small) < (store.get(bulk.id).finished_at or 0)


#: A worker that loses Redis at one place: when it records a batch's result.
LOSES_REDIS = """
import sys
import redis
from shared.jobs.transitions import Transitions

def lose(*_, **__):
    raise redis.exceptions.ConnectionError("lost while the result was recorded")

Transitions.complete = lose
sys.argv = ["worker", "--name", "worker-1"]
from services.worker.__main__ import main
sys.exit(main())
"""


def test_a_batch_whose_record_redis_did_not_take_is_not_left_in_a_living_workers_hands(
    start: Callable[[], WorkerProcess],
    accept: Callable[[int], Job],
    store: JobStore,
    settings: Settings,
    wait_until: Callable[..., float],
    connection: redis.Redis,
) -> None:
    job = accept(5)
    environment = os.environ | {"DATA_DIR": str(settings.data_dir), "MODELS_DIR": str(ROOT / "models")}

    subprocess.run([sys.executable, "-c", LOSES_REDIS], cwd=ROOT, env=environment, check=False, timeout=60)
    assert store.get(job.id).todo == 5  # it left after the first, which is still written down as its own

    start()
    heartbeats, recovery = Heartbeats(connection), Recovery(connection, store)
    wait_until(heartbeats.alive)
    for orphan in recovery.orphans(heartbeats.alive()):  # as the monitor does when that life has ended
        recovery.release(orphan, Blame.NONE)
    wait_until(lambda: store.get(job.id).status is Status.COMPLETED)
