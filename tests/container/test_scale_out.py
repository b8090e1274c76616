"""Several containers: one api, up to three workers, Redis and an S3-compatible server."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator

import pytest

from ops.container.engine import docker
from tests.container.conftest import REQUIRED, Say
from tests.container.fleet import Fleet, compose_command
from tests.support.faults.submitted import BATCH_ROWS, eventually, submit

#: Batches of the job that meets the faults, and of the jobs that are timed.
BATCHES, TIMED_BATCHES = 1000, 200
#: Batches that are recorded when the faults come.
STRUCK_AT = 150
#: Seconds that a worker container is cut off the network.
CUT_SECONDS = 30.0


@pytest.fixture
def fleet(image: str, peers: str) -> Iterator[Fleet]:
    compose = compose_command()
    if compose is None:
        if os.environ.get(REQUIRED) == "required":
            pytest.fail("there is no docker compose here")
        pytest.skip("there is no docker compose here")
    running = Fleet(f"shapbox-test-{os.getpid()}", image, peers, compose)
    try:
        yield running
    finally:
        running.down()


def rows_per_second(fleet: Fleet) -> tuple[float, str]:
    """Run a job; return its rate after acceptance, and the containers' load in its middle."""
    job = submit(fleet, "breast-cancer", TIMED_BATCHES * BATCH_ROWS)
    started = time.monotonic()
    job.wait_for(TIMED_BATCHES // 4)
    busy = fleet.cpu()
    job.finish()
    seconds = time.monotonic() - started
    job.check_values()
    return len(job.rows) / seconds, busy


def test_a_job_of_1000_batches_is_exact_though_one_worker_container_dies_and_one_is_cut_off(
    fleet: Fleet, say: Say
) -> None:
    for workers in (1, 2, 3):
        fleet.up(workers)
        rate, busy = rows_per_second(fleet)
        say(f"{workers} worker containers: {rate:,.0f} rows/s; CPU {busy}")

    job = submit(fleet, "breast-cancer", BATCHES * BATCH_ROWS)
    dying, cut, _ = fleet.containers("worker")
    job.wait_for(STRUCK_AT)
    cutting = threading.Thread(target=fleet.cut_off, args=(cut, CUT_SECONDS))
    cutting.start()
    docker("kill", dying)
    started = time.monotonic()
    assert job.document()["batches"]["completed"] < BATCHES  # in the middle
    job.check_completed()
    cutting.join()
    say(
        f"one of three killed, one cut off for {CUT_SECONDS:.0f} s: {BATCHES} batches exact, {time.monotonic() - started:.0f} s "
        f"after that; recovered {metric(fleet, 'batches_recovered_total')}"
    )
    rows = BATCHES * BATCH_ROWS + 3 * TIMED_BATCHES * BATCH_ROWS
    eventually(lambda: rows_explained(fleet) >= rows, fleet.log_tail)
    time.sleep(3.0)  # counts are flushed once a second, and read once a second: a row too many would show
    assert rows_explained(fleet) == rows
    # Whether they had a batch in hand in that moment is chance; tests/appliance/test_roles.py sees to it that they do.
    # The container that was cut off is back by itself.
    eventually(lambda: fleet.workers_alive() == 2, fleet.log_tail)


def rows_explained(fleet: Fleet) -> int:
    """Return how many rows were recorded."""
    return round(sum(metric(fleet, "rows_explained_total").values()))


def metric(fleet: Fleet, name: str) -> dict[str, float]:
    """Return what the api's container exports under a name, by labels."""
    answer = fleet.get("/metrics", key=fleet.metrics_token)
    assert answer.status == 200, answer
    found = re.findall(rf"^shapbox_{name}\{{([^}}]*)\}} (\S+)$", answer.body.decode(), re.MULTILINE)
    return {labels: float(value) for labels, value in found if float(value)}
