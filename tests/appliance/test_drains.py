"""Orderly exits: running batches finish or are handed back, and no batch is blamed."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing

import psutil

from ops.lab.trial_appliance import STOP_SECONDS, Appliance
from shapbox import NoAnswerError, Response, Shapbox
from shared.jobs import keys
from shared.redis.connection import Patience, connect
from tests.appliance.conftest import MakeAppliance, Say
from tests.support.faults.load import Load
from tests.support.faults.placing import Action, Faults
from tests.support.faults.submitted import (
    BATCH_ROWS,
    Submitted,
    counters,
    eventually,
    nothing_is_left,
    submit,
)
from tests.support.faults.supervised import Supervisor

#: Batches of the job in which everything is stopped, and the one that is in hand by then.
BATCHES, IN_HAND = 60, 10


def readyz(appliance: Appliance) -> Response | None:
    """Return its answer, or None if nothing listens any more."""
    try:
        return Shapbox(appliance.url, "").call("GET", "/readyz", seconds=2.0)
    except NoAnswerError:
        return None


def submit_with_one_in_hand(appliance: Appliance, faults: Faults, action: Action) -> Submitted:
    """Submit a job and return when one worker computes the batch that takes its time."""
    with faults.held():
        job = submit(appliance, "diabetes", BATCHES * BATCH_ROWS - 1)
        faults.place(job.id, IN_HAND, "compute", action)
    eventually(faults.strikes, appliance.log_tail)
    return job


def seconds_until_refused(appliance: Appliance) -> float:
    """Return the seconds until /readyz refused new work; fail if it never did."""
    started = time.monotonic()
    while (answer := readyz(appliance)) is not None:
        if answer.status == 503:
            assert not answer.json()["probes"]["draining"]["ok"], answer
            return time.monotonic() - started
        time.sleep(0.02)
    raise AssertionError(f"the api went without a word\n{appliance.log_tail()}")


def wait_for_the_end(appliance: Appliance, family: list[psutil.Process]) -> float:
    """Return the seconds until supervisord has ended with 0 and no process is left."""
    assert appliance.process is not None
    started = time.monotonic()
    assert appliance.process.wait(STOP_SECONDS) == 0, appliance.log_tail()
    left = [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not left, appliance.log_tail()
    return time.monotonic() - started


def check_unblamed(appliance: Appliance, job: Submitted) -> dict[str, float]:
    """Fail if a death was counted, a row counted twice, or anything is left; return counters."""
    with closing(connect(appliance.settings(), Patience.STEADY, name="test")) as connection:
        assert not connection.exists(keys.deaths(job.id))
        eventually(lambda: nothing_is_left(connection), appliance.log_tail)
        count = counters(connection)
    assert count[f"rows_explained_total|{job.version.id}"] == len(job.rows)
    return count


def test_what_is_in_hand_is_finished_and_what_is_queued_waits_for_the_next_start(
    make_appliance: MakeAppliance, faults: Faults, say: Say
) -> None:
    first = make_appliance(**faults.environment())
    first.start()
    job = submit_with_one_in_hand(first, faults, "slow")
    family, workers = first.family(), first.worker_pids()
    assert first.process is not None
    first.process.send_signal(signal.SIGTERM)
    refused = seconds_until_refused(first)
    first.process.send_signal(signal.SIGTERM)  # somebody is impatient
    for pid in workers:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGTERM)
    seconds = wait_for_the_end(first, family)
    begun, recorded = faults.steps("read"), faults.steps("recorded")

    say(f"/readyz refused after {refused:.1f} s, all gone {seconds:.1f} s later")
    assert (job.id, IN_HAND) in {(step.job_id, step.batch) for step in recorded}
    assert len(begun) == len(recorded) < BATCHES
    second = make_appliance(**faults.environment())
    second.start()
    again = Submitted(second, job.id, job.version, job.rows)
    again.check_completed()
    assert sorted(step.batch for step in faults.steps("read")) == list(range(BATCHES))  # each one once
    check_unblamed(second, again)


def test_a_batch_that_is_too_long_for_the_drain_is_run_again_and_not_blamed(
    make_appliance: MakeAppliance, faults: Faults, say: Say
) -> None:
    first = make_appliance(**faults.environment())
    first.start()
    job = submit_with_one_in_hand(first, faults, "long")
    family = first.family()
    assert first.process is not None
    first.process.send_signal(signal.SIGTERM)
    seconds = wait_for_the_end(first, family)
    recorded = {step.batch for step in faults.steps("recorded")}

    second = make_appliance(**faults.environment())
    second.start()
    again = Submitted(second, job.id, job.version, job.rows)
    again.check_completed()
    count = check_unblamed(second, again)
    say(
        f"gone {seconds:.1f} s after SIGTERM with a batch of 40 s in hand; recovered: "
        f"{ {name: value for name, value in count.items() if 'recovered' in name} }"
    )
    # By the worker itself, in native code as it is, and not by the process that finds it killed in the end.
    assert count.get("batches_recovered_total|handed_back") == 1
    assert IN_HAND not in recorded
    runs = [step.batch for step in faults.steps("read")]
    assert sorted(runs) == sorted([*range(BATCHES), IN_HAND])  # that one twice, all others once


def restart(appliance: Appliance, load: Load, program: str) -> tuple[float, float]:
    """Restart a program under load; return when that began and when all was well again."""
    started = time.monotonic()
    with closing(Supervisor(appliance.settings().supervisor_socket)) as supervisor:
        supervisor.stop(program)
        supervisor.start(program)
    before = len(load.accepted)
    eventually(lambda: len(load.accepted) >= before + 3, appliance.log_tail)
    eventually(
        lambda: (answer := readyz(appliance)) and answer.status == 200,
        appliance.log_tail,
    )
    return started, time.monotonic()


def test_each_program_can_be_restarted_under_load_and_nothing_is_lost(
    make_appliance: MakeAppliance, faults: Faults, say: Say
) -> None:
    appliance = make_appliance(**faults.environment())
    appliance.start()
    big = submit(appliance, "diabetes", 2 * BATCHES * BATCH_ROWS)
    times = {}
    with Load(appliance, "wine", (1, 2 * BATCH_ROWS)) as load:
        eventually(lambda: len(load.accepted) >= 3, appliance.log_tail)
        for program in ("worker", "api", "redis", "monitor"):
            times[program] = restart(appliance, load, program)

    say(f"s until all was well: { {name: round(end - begin, 1) for name, (begin, end) in times.items()} }")
    say(f"{load.statuses()}")
    silent = [asked for asked in load.asked if asked.status == 0]
    begin, end = times["api"]
    assert all(begin < asked.at + asked.seconds and asked.at < end for asked in silent), silent
    assert {asked.status for asked in load.asked} <= {0, 200, 202, 503}
    for job in (big, *load.accepted):
        job.check_completed()
    with closing(connect(appliance.settings(), Patience.STEADY, name="test")) as connection:
        assert not [job.id for job in (big, *load.accepted) if connection.exists(keys.deaths(job.id))]
        eventually(lambda: nothing_is_left(connection), appliance.log_tail)
        count = counters(connection)
    assert "jobs_total|failed" not in count
    assert count["rows_explained_total|diabetes@1"] == len(big.rows)
