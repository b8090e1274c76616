"""Redis stopped, killed and emptied under load: quick answers, no accepted job lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
import redis

from ops.lab.trial_appliance import Appliance
from ops.run.embedded_redis import redis_config, redis_program
from shared.jobs import keys
from shared.jobs.document import Job, Method
from shared.jobs.ids import new_job_id
from shared.jobs.store import JobStore
from shared.redis.connection import Patience, connect
from shared.settings import Settings
from tests.appliance.conftest import MakeAppliance, Say
from tests.support.faults.load import Load
from tests.support.faults.submitted import BATCH_ROWS, eventually, nothing_is_left, submit
from tests.support.faults.supervised import Supervisor
from tests.support.quick import check_quick_by_own_clock

#: Seconds that Redis is stopped: longer than a connection goes unchecked (15). 60 when run by hand:
#: OUTAGE_SECONDS=60 pytest tests/appliance/test_redis_outage.py
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "18"))
#: Jobs of the appliance after each of which Redis is killed; REDIS_KILLS=50 for the long run.
KILLS = int(os.environ.get("REDIS_KILLS", "3"))
#: The same without workers and supervisord, whose restarts take two seconds each.
BARE_KILLS = 20
#: Seconds in which everything must be answered in any state of Redis.
ANSWER_SECONDS = 2.0
#: Seconds without Redis after which /healthz asks for a restart (30 after its last sign of life), and by when.
HOPELESS_SECONDS, NOTICED_SECONDS = 28.0, 38.0
#: Rows of the jobs under load, in turn: one batch, and several.
ROWS = (1, 3 * BATCH_ROWS, 20)


def is_ready(appliance: Appliance) -> bool:
    return appliance.get("/readyz").status == 200


def wait_for_more(appliance: Appliance, load: Load, jobs: int) -> None:
    """Wait until so many more jobs are accepted."""
    before = len(load.accepted)
    eventually(lambda: len(load.accepted) >= before + jobs, appliance.log_tail)


def wait_until_redis_runs(appliance: Appliance) -> int:
    """Wait until supervisord counts on Redis, and return its process id.

    One that is killed within a second of its start would be started again ever more slowly.
    """
    with closing(Supervisor(appliance.settings().supervisor_socket)) as supervisor:
        eventually(lambda: supervisor.states()["redis"] == "RUNNING", appliance.log_tail)
    eventually(lambda: is_ready(appliance), appliance.log_tail)
    return int(appliance.pids_of("redis-server")[0])


def check_answers(load: Load) -> None:
    """Fail unless everything was answered, and each refusal says when to come back."""
    assert {asked.what for asked in load.asked} == {"POST job", "GET job", "readyz", "healthz"}
    for asked in load.asked:
        allowed = (202, 503) if asked.what == "POST job" else (200, 503)
        assert asked.status in allowed, asked
        if asked.status == 503 and asked.what != "healthz":
            assert asked.retry_after is not None, asked


def check_jobs(appliance: Appliance, load: Load, say: Say) -> None:
    """Fail unless every accepted job completes with exact values and nothing is left over."""
    for job in load.accepted:
        job.check_completed()
    with closing(connect(appliance.settings(), Patience.STEADY, name="test")) as connection:
        eventually(lambda: nothing_is_left(connection), appliance.log_tail)
        known = connection.zcard(keys.JOBS)
    say(f"{load.statuses()}")
    say(
        f"{len(load.accepted)} jobs accepted, all completed; {known - len(load.accepted)} more were carried out "
        f"though answered with 503; slowest answers in s: {load.slowest()}"
    )
    eventually(lambda: is_ready(appliance), appliance.log_tail)


def test_redis_stopped_under_load_costs_no_accepted_job_and_all_is_answered_at_once(
    make_appliance: MakeAppliance, say: Say
) -> None:
    appliance = make_appliance()
    appliance.start()
    check_quick_by_own_clock(ANSWER_SECONDS, lambda: slowest_answer_while_redis_is_stopped(appliance, say))


def slowest_answer_while_redis_is_stopped(appliance: Appliance, say: Say) -> float:
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
        say(
            f"stopped for {back - stopped:.0f} s; five more jobs accepted {time.monotonic() - back:.1f} s after"
        )
        eventually(lambda: appliance.get("/healthz").status == 200)

    check_answers(load)
    during = [asked for asked in load.asked if stopped < asked.at < back - 2 * ANSWER_SECONDS]
    assert {a.status for a in during if a.what in {"POST job", "GET job", "readyz"}} == {503}
    check_health(load, stopped, say)
    check_jobs(appliance, load, say)
    return max(load.slowest().values())


def check_health(load: Load, stopped: float, say: Say) -> None:
    """Fail unless /healthz asks for a restart exactly when Redis has been away for 30 s."""
    failing = [asked.at - stopped for asked in load.asked if asked.what == "healthz" and asked.status == 503]
    if OUTAGE_SECONDS < NOTICED_SECONDS:
        assert not failing
        return
    say(f"/healthz failed {failing[0]:.1f} s after the stop, until {failing[-1]:.1f} s")
    assert HOPELESS_SECONDS < failing[0] < NOTICED_SECONDS
    assert failing[-1] < OUTAGE_SECONDS + 10


def test_redis_killed_again_and_again_under_load_costs_no_accepted_job(
    make_appliance: MakeAppliance, say: Say
) -> None:
    appliance = make_appliance()
    appliance.start()
    check_quick_by_own_clock(ANSWER_SECONDS, lambda: slowest_answer_while_redis_is_killed(appliance, say))


def slowest_answer_while_redis_is_killed(appliance: Appliance, say: Say) -> float:
    killed = []
    with Load(appliance, "wine", ROWS) as load:
        eventually(lambda: len(load.accepted) >= 5)
        for _ in range(5):
            pid = eventually(lambda: appliance.pids_of("redis-server"), appliance.log_tail)[0]
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            wait_for_more(appliance, load, 3)

    check_answers(load)
    assert len(set(killed)) == 5
    check_jobs(appliance, load, say)
    return max(load.slowest().values())


def test_no_job_is_lost_when_redis_is_killed_right_after_each_acceptance(
    make_appliance: MakeAppliance, say: Say
) -> None:
    appliance = make_appliance()
    appliance.start()
    jobs, killed = [], set()
    started = time.monotonic()
    for number in range(KILLS):
        pid = wait_until_redis_runs(appliance)
        jobs.append(submit(appliance, "wine", 40, seed=number))
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
        eventually(lambda: not killed.intersection(appliance.pids_of("redis-server")), appliance.log_tail)
    say(f"{KILLS} kills of Redis in {time.monotonic() - started:.0f} s")

    assert len(killed) == KILLS
    for job in jobs:
        job.check_completed()


def test_a_redis_that_comes_back_empty_makes_old_jobs_unknown_and_new_ones_work(
    make_appliance: MakeAppliance,
) -> None:
    appliance = make_appliance()
    appliance.start()
    ended, going_on = submit(appliance, "wine", 100), submit(appliance, "diabetes", 100 * BATCH_ROWS)
    ended.check_completed()
    going_on.wait_for(5)
    settings = appliance.settings()
    with closing(Supervisor(settings.supervisor_socket)) as supervisor:
        supervisor.stop("redis")
        shutil.rmtree(settings.redis_dir / "appendonlydir")
        supervisor.start("redis")

    eventually(lambda: is_ready(appliance), appliance.log_tail)
    for job in (ended, going_on):
        assert appliance.get(f"/v1/jobs/{job.id}").status == 404
        assert appliance.get(f"/v1/jobs/{job.id}/result").status == 404
    assert appliance.get("/v1/jobs").json()["jobs"] == []
    for rows in (1, 30 * BATCH_ROWS):
        submit(appliance, "breast-cancer", rows).check_completed()
    with closing(connect(settings, Patience.STEADY, name="test")) as connection:
        eventually(lambda: nothing_is_left(connection), appliance.log_tail)
    assert appliance.get("/healthz").status == 200


@contextmanager
def bare_redis(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Run Redis as the appliance configures it; kill it in the end."""
    config = settings.run_dir / "redis.conf"
    config.write_text(redis_config(settings), encoding="utf-8")
    process = subprocess.Popen([redis_program(), str(config)], stdout=subprocess.DEVNULL)
    try:
        with closing(redis.Redis(unix_socket_path=str(settings.redis_socket))) as client:
            eventually(lambda: answers(client))
        yield process
    finally:
        process.kill()
        process.wait()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False


@pytest.fixture
def settings() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="shapbox-") as folder:  # short enough for a unix socket
        settings = Settings(data_dir=Path(folder))
        settings.run_dir.mkdir()
        settings.redis_dir.mkdir()
        yield settings


def test_accepted_jobs_outlive_a_redis_that_is_killed_after_each(settings: Settings) -> None:
    accepted = []
    for _ in range(BARE_KILLS):
        with (
            bare_redis(settings) as server,
            closing(connect(settings, Patience.STEADY, name="test")) as connection,
        ):
            store = JobStore(connection, settings)
            job = Job(new_job_id(), "wine@1", Method.TREE_PATH_DEPENDENT, 1500, BATCH_ROWS, 13, 3)
            assert store.accept(job).created
            server.kill()
            accepted.append(job.id)

    with bare_redis(settings), closing(connect(settings, Patience.STEADY, name="test")) as connection:
        store = JobStore(connection, settings)
        assert [job.id for job in store.active()] == accepted
        assert store.queues.waiting_batches() == {
            (job_id, batch) for job_id in accepted for batch in range(3)
        }
