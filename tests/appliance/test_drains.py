"""Orderly exits: running batches finish or are handed back, and no batch is blamed."""

from __future__ import annotations

import os
import signal
from contextlib import closing

import psutil

from ops.lab.trial_appliance import STOP_SECONDS
from shared.jobs import keys
from shared.redis.connection import Patience, connect
from tests.appliance.conftest import MakeAppliance
from tests.support.faults.placing import Faults
from tests.support.faults.submitted import (
    BATCH_ROWS,
    Submitted,
    counters,
    eventually,
    nothing_is_left,
    submit,
)

#: Batches of a job, and two of them that are in hand when everything is stopped: one takes four seconds, and one longer
#: than a drain.
BATCHES, SLOW, LONG = 60, 10, 11


def test_a_stop_finishes_or_hands_back_what_is_in_hand_and_the_rest_waits_for_the_next_start(
    make_appliance: MakeAppliance, faults: Faults
) -> None:
    first, second = (make_appliance(**faults.environment()) for _ in range(2))
    first.start()
    with faults.held():
        job = submit(first, "diabetes", BATCHES * BATCH_ROWS - 1)
        faults.place(job.id, SLOW, "compute", "slow")
        faults.place(job.id, LONG, "compute", "long")
    eventually(lambda: len(faults.strikes()) == 2, first.log_tail)
    family, workers = first.family(), first.worker_pids()
    assert first.process is not None
    first.process.send_signal(signal.SIGTERM)
    # The api says so before it goes.
    refusal = eventually(lambda: answer if (answer := first.get("/readyz")).status == 503 else None)
    assert not refusal.json()["probes"]["draining"]["ok"], refusal
    for pid in (first.process.pid, *workers):  # somebody is impatient
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGTERM)
    assert first.process.wait(STOP_SECONDS) == 0, first.log_tail()
    left = [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not left, first.log_tail()
    begun, recorded = ([step.batch for step in faults.steps(point)] for point in ("read", "recorded"))
    assert sorted(begun) == sorted([*recorded, LONG])
    assert SLOW in recorded
    assert len(begun) < BATCHES

    second.start()
    again = Submitted(second, job.id, job.version, job.rows)
    with closing(connect(second.settings(), Patience.STEADY, name="test")) as connection:
        again.check_completed()
        assert not connection.exists(keys.deaths(job.id))
        eventually(lambda: nothing_is_left(connection), second.log_tail)
        count = counters(connection)
    runs = [step.batch for step in faults.steps("read")]
    assert sorted(runs) == sorted([*range(BATCHES), LONG])  # that one twice, all others once
    # By the worker itself, in native code as it is, and not by the process that finds it killed in the end.
    assert count.get("batches_recovered_total|handed_back") == 1
    assert count[f"rows_explained_total|{job.version.id}"] == len(job.rows)
    second.stop(signal.SIGINT)
