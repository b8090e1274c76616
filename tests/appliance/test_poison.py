"""A batch that kills every worker is given up after three; everything else goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ops.lab.trial_appliance import Appliance, memory_cgroup
from shared.redis.connection import Patience, connect
from shared.timing import TIMING
from tests.appliance.conftest import MakeAppliance, Say
from tests.support.faults.placing import Action, Faults
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
#: Seconds between two looks at the working set.
SAMPLE_SECONDS = 0.02


class WorkingSet:
    """The highest charge of a memory cgroup, less what the kernel can drop, of many looks."""

    def __init__(self, cgroup: Path) -> None:
        self._cgroup = cgroup
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak = self.looks = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look again and again while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            self._thread.join()

    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed in it."""
        return self._numbers("memory.oom_control")["oom_kill"]

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            usage = int((self._cgroup / "memory.usage_in_bytes").read_text(encoding="ascii"))
            inactive = self._numbers("memory.stat")["total_inactive_file"]
            self.peak = max(self.peak, usage - inactive)
            self.looks += 1

    def _numbers(self, file: str) -> dict[str, int]:
        lines = (self._cgroup / file).read_text(encoding="ascii").splitlines()
        return {name: int(number) for name, number in (line.split() for line in lines)}


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


def check_given_up(appliance: Appliance, faults: Faults, bad: Submitted) -> dict[str, float]:
    """Fail unless that batch's third death alone failed its job; return the counters."""
    document = bad.finish()
    error: dict[str, Any] = document["error"]
    start, stop = BAD * BATCH_ROWS, (BAD + 1) * BATCH_ROWS
    assert document["status"] == "failed", document
    assert error["type"] == "/problems/poison-batch"
    assert error["rows"] == [start, stop]
    assert f"{start} to {stop - 1}" in error["detail"]
    assert len(faults.strikes()) == DEATHS
    assert len(faults.left()) == PLENTY - DEATHS
    result = appliance.get(f"/v1/jobs/{bad.id}/result")
    assert result.status == 409, result
    with closing(connect(appliance.settings(), Patience.STEADY, name="test")) as connection:
        eventually(lambda: nothing_is_left(connection), appliance.log_tail)
        count = counters(connection)
    assert count["jobs_total|failed"] == 1
    return count


def check_the_others(appliance: Appliance, others: tuple[Submitted, ...]) -> None:
    """Fail unless all other jobs have completed with exact values, and the appliance is well."""
    for job in others:
        job.check_completed()
    eventually(lambda: appliance.get("/readyz").status == 200, appliance.log_tail)
    assert appliance.get("/healthz").status == 200
    eventually(lambda: len(appliance.worker_pids()) == 2, appliance.log_tail)


@pytest.mark.parametrize("action", ["steps", "once"])
def test_a_batch_that_blows_memory_is_given_up_and_the_container_stays_below_its_hard_mark(
    make_appliance: MakeAppliance, faults: Faults, container: Path, say: Say, action: Action
) -> None:
    appliance = make_appliance(cgroup=container, **faults.environment())
    memory = WorkingSet(container)
    with memory.watched():
        appliance.start()
        first, bad, last = submit_three(appliance, faults, action)
        count = check_given_up(appliance, faults, bad)
        check_the_others(appliance, (first, last))
        appliance.stop()

    say(
        f"{action}: highest working set {memory.peak / 2**20:.0f} MB of {CONTAINER_MB} (hard mark "
        f"{HARD_MARK / 2**20:.0f}), {memory.looks} looks, {memory.oom_kills()} OOM kills; "
        f"{ {name: value for name, value in count.items() if 'recovered' in name or 'recycles' in name} }"
    )
    assert memory.looks > 100
    assert memory.oom_kills() == 0
    assert memory.peak < HARD_MARK


def test_two_batches_that_blow_memory_at_the_same_time_cost_workers_and_nothing_else(
    make_appliance: MakeAppliance, faults: Faults, container: Path, say: Say
) -> None:
    appliance = make_appliance(cgroup=container, **faults.environment())
    memory = WorkingSet(container)
    with memory.watched():
        appliance.start()
        others = {name: appliance.pids_of(name) for name in PROGRAMS}
        with faults.held():
            bad = submit(appliance, "diabetes", BATCHES * BATCH_ROWS)
            for batch in (BAD, BAD + 1):  # in hand of two workers
                faults.place(bad.id, batch, "compute", "steps", PLENTY)
            good = submit(appliance, "wine", BATCHES * BATCH_ROWS)
        document = bad.finish()
        check_the_others(appliance, (good,))
        assert {name: appliance.pids_of(name) for name in PROGRAMS} == others
        appliance.stop()

    say(
        f"two at once: highest working set {memory.peak / 2**20:.0f} MB of {CONTAINER_MB} (hard mark "
        f"{HARD_MARK / 2**20:.0f}), {memory.oom_kills()} OOM kills; {len(faults.strikes())} blows"
    )
    assert document["error"]["type"] == "/problems/poison-batch", document
    # One batch cannot take the container over its mark. Two at once can, and the kernel may choose a worker.
    assert memory.oom_kills() <= len(faults.strikes())


# With the GIL held nothing beats: the timeout is longer than a heartbeat's lease, as it is by default.
def test_a_batch_that_hangs_in_native_code_is_killed_run_again_and_given_up_at_the_third(
    make_appliance: MakeAppliance, faults: Faults, say: Say
) -> None:
    timeout = str(int(TIMING.heartbeat_lease_seconds) + 4)
    appliance = make_appliance(**faults.environment(), BATCH_TIMEOUT_SECONDS=timeout)
    appliance.start()
    first, bad, last = submit_three(appliance, faults, "hanggil")
    count = check_given_up(appliance, faults, bad)
    check_the_others(appliance, (first, last))
    struck = [strike.at for strike in faults.strikes()]
    say(f"seconds between the hangs: {[round(b - a, 1) for a, b in pairwise(struck)]}")
    # The third gives the batch up; the two before it were killed for hanging, and run again.
    assert count["batches_recovered_total|hung"] == DEATHS - 1
    assert len({strike.pid for strike in faults.strikes()}) == DEATHS
