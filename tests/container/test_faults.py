"""Kills and memory in a container of 512 MB: the guard's actions, and the kernel's."""

from __future__ import annotations

import re
import time

import pytest

from ops.container.box import Box
from ops.lab.memory import peak_of
from tests.container.conftest import MakeBox, Say
from tests.support.faults.placing import Faults
from tests.support.faults.submitted import BATCH_ROWS, submit

#: MB at which the guard kills: 97 % of the container's limit.
HARD_MARK_MB = 496
#: MB of a worker's own limit: far below where the guard acts, so that the two do not race, or out of the way.
OWN_LIMIT_MB, NO_LIMIT_MB = 200, 470
#: Batches that leak in turn, each 50 MB: more than the container holds. Every so many batches one does.
LEAKS, LEAK_EVERY = 9, 4
#: Seconds after its start in which the guard does not recycle a worker, and a little.
GROWN_UP_SECONDS = 62.0
#: Programs whose process the kernel must not take.
LASTING = ("redis-server", "services.api", "services.monitor", "ops.run.supervision")
PROCESSES = r'for p in /proc/[0-9]*; do echo "${p#/proc/} $(tr "\0" " " < $p/cmdline)"; done 2>/dev/null'


def test_a_killed_container_goes_on_after_its_last_recorded_batch(make_box: MakeBox, say: Say) -> None:
    box = make_box()
    box.run()
    box.await_ready()
    job = submit(box, "breast-cancer", 60_000)
    job.wait_for(10)
    box.kill()
    box.start()
    box.await_ready()
    recorded = job.document()["batches"]["completed"]
    say(f"docker kill in mid-job: {recorded} of {job.batches} batches recorded at the next start")
    job.check_completed()
    assert recorded >= 10


@pytest.mark.parametrize(
    ("limit_mb", "rest_seconds", "reasons", "highest_mb"),
    [
        (OWN_LIMIT_MB, 0.0, ("self",), HARD_MARK_MB),
        # Only the guard's mark over the whole container is left.
        (NO_LIMIT_MB, GROWN_UP_SECONDS, ("memory_soft", "memory_hard"), 512),
    ],
    ids=["by itself", "by the guard"],
)
def test_a_worker_that_eats_memory_is_recycled_before_the_kernel_acts(
    make_box: MakeBox,
    faults: Faults,
    fault_mounts: list[str],
    say: Say,
    *,
    limit_mb: int,
    rest_seconds: float,
    reasons: tuple[str, ...],
    highest_mb: int,
) -> None:
    # Two that did so at once could reach the container's limit before they reach their own: then the kernel may choose one.
    own = {"WORKERS": "1", "WORKER_MEMORY_LIMIT_MB": str(limit_mb)}
    box = make_box(*fault_mounts, **faults.environment(), **own)
    box.run()
    box.await_ready()
    time.sleep(rest_seconds)
    with peak_of(box.working_set_bytes) as peak:
        with faults.held():
            job = submit(box, "breast-cancer", (LEAKS + 1) * LEAK_EVERY * BATCH_ROWS)
            for number in range(1, LEAKS + 1):
                faults.place(job.id, number * LEAK_EVERY, "stored", "leak")
        job.check_completed()
    metrics = box.get("/metrics", key=box.metrics_token).body.decode()
    found = re.findall(r'^shapbox_worker_recycles_total\{reason="(\w+)"\} (\S+)$', metrics, re.MULTILINE)
    recycles = {reason: round(float(count)) for reason, count in found}
    say(f"{LEAKS} x 50 MB leaked: peak {peak.highest_mb:.0f} MB, recycles {recycles}")
    assert not faults.left()
    assert sum(recycles[reason] for reason in reasons) >= 1
    assert OWN_LIMIT_MB < peak.highest_mb < highest_mb
    assert box.oom_kills() == 0


def test_without_a_guard_the_kernel_kills_a_worker_and_the_job_completes(
    make_box: MakeBox, faults: Faults, fault_mounts: list[str], say: Say
) -> None:
    box = make_box(*fault_mounts, **faults.environment(), SHAPBOX_TEST_UNGUARDED="1")
    box.run()
    box.await_ready()
    before = pids(box)
    with faults.held():
        job = submit(box, "breast-cancer", 30_000)
        faults.place(job.id, 20, "compute", "once")
    job.check_completed()
    after = pids(box)
    say(f"no guard: {box.oom_kills()} killed by the kernel; the job completed")
    assert box.oom_kills() >= 1
    assert box.state()["Running"]
    changed = {name for name in before if after[name] != before[name]}
    assert changed
    assert not changed & {*LASTING}, "the kernel took something that is not a worker"


def pids(box: Box) -> dict[str, int]:
    """Return the process ids in the container by what they run."""
    lines = [line.partition(" ") for line in box.exec("sh", "-c", PROCESSES).splitlines()]
    names = (*LASTING, "worker-1", "worker-2")
    return {name: int(pid) for pid, _, command in lines for name in names if name in command}
