"""Redis stopped, killed and emptied, and each program restarted: no job is lost."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing

import psutil
import pytest
import redis

from ops.lab.trial_appliance import Appliance
from shared.jobs import keys
from shared.redis.connection import Patience, connect
from tests.support.faults.load import Load
from tests.support.faults.submitted import (
    BATCH_ROWS,
    Submitted,
    counters,
    eventually,
    nothing_is_left,
    submit,
)
from tests.support.faults.supervised import Supervisor
from tests.support.quick import check_quick_by_own_clock

#: Seconds that Redis is stopped: longer than a connection goes unchecked (15). 60 when run by hand:
#: OUTAGE_SECONDS=60 pytest tests/appliance/test_redis_outage.py
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "18"))
#: How often Redis is killed, each time right after a job was accepted; REDIS_KILLS=50 for the long run.
KILLS = int(os.environ.get("REDIS_KILLS", "5"))
#: Seconds in which everything must be answered in any state of Redis.
ANSWER_SECONDS = 2.0
#: Seconds without Redis after which /healthz asks for a restart (30 after its last sign of life), and by when.
HOPELESS_SECONDS, NOTICED_SECONDS = 28.0, 38.0
#: Rows of the jobs under load, in turn: one batch, and several.
ROWS = (1, 3 * BATCH_ROWS, 20)
#: The programs that are restarted.
PROGRAMS = ("worker", "api", "redis", "monitor")


@pytest.fixture
def connection(appliance: Appliance) -> Iterator[redis.Redis]:
    with closing(connect(appliance.settings(), Patience.STEADY, name="test")) as connection:
        yield connection


@pytest.fixture
def supervisor(appliance: Appliance) -> Iterator[Supervisor]:
    with closing(Supervisor(appliance.settings().supervisor_socket)) as supervisor:
        yield supervisor


def is_ready(appliance: Appliance) -> bool:
    return appliance.get("/readyz").status == 200


def wait_for_more(appliance: Appliance, load: Load, jobs: int) -> None:
    before = len(load.accepted)
    eventually(lambda: len(load.accepted) >= before + jobs, appliance.log_tail)


def check_answers(load: Load) -> None:
    """Fail unless everything was answered, and each refusal says when to come back."""
    assert {asked.what for asked in load.asked} == {"POST job", "GET job", "readyz", "healthz"}
    for asked in load.asked:
        allowed = (202, 503) if asked.what == "POST job" else (200, 503)
        assert asked.status in allowed, asked
        if asked.status == 503 and asked.what != "healthz":
            assert asked.retry_after is not None, asked


def check_jobs(appliance: Appliance, connection: redis.Redis, *jobs: Submitted) -> None:
    """Fail unless every job completes exactly, none is blamed, and nothing is left."""
    for job in jobs:
        job.check_completed()
        assert not connection.exists(keys.deaths(job.id))
    eventually(lambda: nothing_is_left(connection), appliance.log_tail)
    eventually(lambda: is_ready(appliance), appliance.log_tail)


def test_redis_stopped_under_load_costs_no_accepted_job_and_all_is_answered_at_once(
    appliance: Appliance, connection: redis.Redis
) -> None:
    def slowest_answer() -> float:
        with Load(appliance, "wine", ROWS) as load:
            eventually(lambda: len(load.accepted) >= 5)
            pid = appliance.pids_of("redis-server")[0]
            os.kill(pid, signal.SIGSTOP)
            eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
            stopped = time.monotonic()
            time.sleep(OUTAGE_SECONDS)
            os.kill(pid, signal.SIGCONT)
            back = time.monotonic()
            wait_for_more(appliance, load, 5)
            eventually(lambda: appliance.get("/healthz").status == 200)
        check_answers(load)
        during = [asked for asked in load.asked if stopped < asked.at < back - 2 * ANSWER_SECONDS]
        assert {a.status for a in during if a.what in {"POST job", "GET job", "readyz"}} == {503}
        failing = [a.at - stopped for a in load.asked if a.what == "healthz" and a.status == 503]
        if OUTAGE_SECONDS < NOTICED_SECONDS:
            assert not failing
        else:
            assert HOPELESS_SECONDS < failing[0] < NOTICED_SECONDS
            assert failing[-1] < OUTAGE_SECONDS + 10
        check_jobs(appliance, connection, *load.accepted)
        return max(load.slowest().values())

    check_quick_by_own_clock(ANSWER_SECONDS, slowest_answer)


def test_redis_killed_again_and_again_right_after_it_accepted_a_job_loses_none(
    appliance: Appliance, connection: redis.Redis, supervisor: Supervisor
) -> None:
    killed: set[int] = set()
    jobs: list[Submitted] = []

    def slowest_answer() -> float:
        with Load(appliance, "wine", ROWS) as load:
            for number in range(KILLS):
                # One that is killed within a second of its start would be started again ever more slowly.
                eventually(lambda: supervisor.states()["redis"] == "RUNNING", appliance.log_tail)
                eventually(lambda: is_ready(appliance), appliance.log_tail)
                [pid] = appliance.pids_of("redis-server")
                jobs.append(submit(appliance, "wine", 40, seed=number))
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
                eventually(
                    lambda: not killed.intersection(appliance.pids_of("redis-server")), appliance.log_tail
                )
                wait_for_more(appliance, load, 3)
        check_answers(load)
        assert len(killed) >= KILLS
        check_jobs(appliance, connection, *jobs, *load.accepted)
        return max(load.slowest().values())

    check_quick_by_own_clock(ANSWER_SECONDS, slowest_answer)


def test_a_redis_that_comes_back_empty_makes_old_jobs_unknown_and_new_ones_work(
    appliance: Appliance, connection: redis.Redis, supervisor: Supervisor
) -> None:
    ended, going_on = submit(appliance, "wine", 100), submit(appliance, "diabetes", 100 * BATCH_ROWS)
    ended.check_completed()
    going_on.wait_for(5)
    supervisor.stop("redis")
    shutil.rmtree(appliance.settings().redis_dir / "appendonlydir")
    supervisor.start("redis")

    eventually(lambda: is_ready(appliance), appliance.log_tail)
    for job in (ended, going_on):
        assert appliance.get(f"/v1/jobs/{job.id}").status == 404
        assert appliance.get(f"/v1/jobs/{job.id}/result").status == 404
    assert appliance.get("/v1/jobs").json()["jobs"] == []
    check_jobs(
        appliance, connection, *(submit(appliance, "breast-cancer", rows) for rows in (1, 30 * BATCH_ROWS))
    )
    assert appliance.get("/healthz").status == 200


def test_each_program_can_be_restarted_under_load_and_nothing_is_lost(
    appliance: Appliance, connection: redis.Redis, supervisor: Supervisor
) -> None:
    rows = "rows_explained_total|diabetes@1"
    before = counters(connection).get(rows, 0)
    big = submit(appliance, "diabetes", 120 * BATCH_ROWS)
    times: dict[str, tuple[float, float]] = {}
    with Load(appliance, "wine", ROWS) as load:
        eventually(lambda: len(load.accepted) >= 3, appliance.log_tail)
        for program in PROGRAMS:
            began = time.monotonic()
            supervisor.stop(program)
            supervisor.start(program)
            wait_for_more(appliance, load, 3)
            times[program] = began, time.monotonic()
    silent = [asked for asked in load.asked if asked.status == 0]
    begin, end = times["api"]
    assert all(begin < asked.at + asked.seconds and asked.at < end for asked in silent), silent
    assert {asked.status for asked in load.asked} <= {0, 200, 202, 503}
    check_jobs(appliance, connection, big, *load.accepted)
    count = counters(connection)
    assert "jobs_total|failed" not in count
    assert count[rows] == before + len(big.rows)
