"""A batch that kills every worker is given up after three; everything else goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ops.lab.memory import oom_kills, repeated, working_set
from ops.lab.trial_appliance import Appliance, memory_cgroup
from shared.redis.connection import Patience, connect
from tests.appliance.conftest import MakeAppliance
from tests.support.faults.placing import Action, Faults, Strike, timed
from tests.support.faults.submitted import (
    BATCH_ROWS,
    Submitted,
    counters,
    eventually,
    nothing_is_left,
    submit,
)

#: MB of the container, and the bytes at which a worker must be killed rather than let it grow.
CONTAINER_MB = 512
HARD_MARK = CONTAINER_MB * 2**20 * 97 // 100
#: Deaths after which a batch is given up, and faults that would be there for more.
DEATHS, PLENTY = 3, 8
#: The batch that is to blame, of a job of so many.
BAD, BATCHES = 4, 10
#: Programs that must go on when workers do not.
PROGRAMS = ("redis-server", "services.api", "services.monitor")
#: Shorter times than production's, and the seconds after which a batch hangs: with the GIL held nothing beats, so these
#: are more than a heartbeat's lease, as they are by default.
TIMES = timed(heartbeat_interval_seconds=0.6, heartbeat_lease_seconds=3)
HUNG_SECONDS = "5"
#: Seconds between two looks at the working set.
SAMPLE_SECONDS = 0.02


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Path]:
    with memory_cgroup(tmp_path.name, CONTAINER_MB) as folder:
        if folder is None:
            pytest.skip(
                "no memory cgroup (version 1) can be made here: that takes root and a mounted hierarchy"
            )
        yield folder


def submit_three(appliance: Appliance, faults: Faults, action: Action) -> tuple[Submitted, ...]:
    """Submit a job before the bad one, the bad one, and one after it."""
    with faults.held():
        jobs = tuple(
            submit(appliance, model, BATCHES * BATCH_ROWS, seed)
            for seed, model in enumerate(("wine", "diabetes", "breast-cancer"))
        )
        faults.place(jobs[1].id, BAD, "compute", action, PLENTY)
    return jobs


def check_given_up(appliance: Appliance, faults: Faults, bad: Submitted) -> list[Strike]:
    """Fail unless that batch's third death alone failed its job; return the deaths."""
    document = bad.finish()
    error: dict[str, Any] = document["error"]
    start, stop = BAD * BATCH_ROWS, (BAD + 1) * BATCH_ROWS
    assert document["status"] == "failed", document
    assert error["type"] == "/problems/poison-batch"
    assert error["rows"] == [start, stop]
    assert f"{start} to {stop - 1}" in error["detail"]
    strikes = [strike for strike in faults.strikes() if strike.job_id == bad.id]
    assert len(strikes) == DEATHS
    assert appliance.get(f"/v1/jobs/{bad.id}/result").status == 409
    with closing(connect(appliance.settings(), Patience.STEADY, name="test")) as connection:
        eventually(lambda: nothing_is_left(connection), appliance.log_tail)
    return strikes


def check_the_others(appliance: Appliance, *others: Submitted) -> None:
    """Fail unless all other jobs have completed with exact values, and the appliance is well."""
    for job in others:
        job.check_completed()
    eventually(lambda: appliance.get("/readyz").status == 200, appliance.log_tail)
    assert appliance.get("/healthz").status == 200
    eventually(lambda: len(appliance.worker_pids()) == 2, appliance.log_tail)


def test_batches_that_blow_memory_are_given_up_one_at_a_time_and_two_at_once_and_the_container_stays(
    make_appliance: MakeAppliance, faults: Faults, container: Path
) -> None:
    appliance = make_appliance(cgroup=container, **faults.environment())
    looks: list[int] = []
    with repeated(lambda: looks.append(working_set(appliance)), SAMPLE_SECONDS):
        appliance.start()
        programs = {name: appliance.pids_of(name) for name in PROGRAMS}
        actions: tuple[Action, ...] = ("steps", "once")
        for action in actions:
            first, bad, last = submit_three(appliance, faults, action)
            check_given_up(appliance, faults, bad)
            check_the_others(appliance, first, last)
        assert len(looks) > 100
        assert oom_kills(appliance) == 0
        assert max(looks) < HARD_MARK

        with faults.held():
            bad = submit(appliance, "diabetes", BATCHES * BATCH_ROWS)
            for batch in (BAD, BAD + 1):  # in hand of two workers
                faults.place(bad.id, batch, "compute", "steps", PLENTY)
            good = submit(appliance, "wine", BATCHES * BATCH_ROWS)
        assert bad.finish()["error"]["type"] == "/problems/poison-batch"
        check_the_others(appliance, good)
        assert {name: appliance.pids_of(name) for name in PROGRAMS} == programs
        appliance.stop()
    blows = sum(strike.job_id == bad.id for strike in faults.strikes())
    # One batch cannot take the container over its mark. Two at once can, and the kernel may choose a worker.
    assert oom_kills(appliance) <= blows


def test_a_batch_that_hangs_in_native_code_is_killed_run_again_and_given_up_at_the_third(
    make_appliance: MakeAppliance, faults: Faults
) -> None:
    appliance = make_appliance(**{**TIMES, **faults.environment()}, BATCH_TIMEOUT_SECONDS=HUNG_SECONDS)
    appliance.start()
    first, bad, last = submit_three(appliance, faults, "hanggil")
    strikes = check_given_up(appliance, faults, bad)
    check_the_others(appliance, first, last)
    with closing(connect(appliance.settings(), Patience.STEADY, name="test")) as connection:
        count = counters(connection)
    # The third gives the batch up; the two before it were killed for hanging, and run again.
    assert count["batches_recovered_total|hung"] == DEATHS - 1
    assert count["jobs_total|failed"] == 1
    assert len({strike.pid for strike in strikes}) == DEATHS
