"""Kills and memory in a container of 512 MB: the guard's actions, and the kernel's."""

from __future__ import annotations

import re
import time

from ops.container.box import Box
from ops.container.peak import peak_of
from tests.appliance.faults.placing import Faults
from tests.appliance.faults.submitted import BATCH_ROWS, Submitted, submit
from tests.container.conftest import MakeBox, Say

#: MB at which the guard kills: 97 % of the container's limit.
HARD_MARK_MB = 496
#: MB of a worker's own limit, far below where the guard acts: the two do not race.
OWN_LIMIT_MB = 200
#: Batches that leak in turn, each 50 MB: more than the container holds. Every so many batches one does.
LEAKS, LEAK_EVERY = 9, 4
#: Seconds after its start in which the guard does not recycle a worker, and a little.
GROWN_UP_SECONDS = 62.0


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


def leaking_job(box: Box, faults: Faults) -> Submitted:
    """Send a job of which one batch in four leaks 50 MB in its worker."""
    with faults.held():
        job = submit(box, "breast-cancer", (LEAKS + 1) * LEAK_EVERY * BATCH_ROWS)
        for number in range(1, LEAKS + 1):
            faults.place(job.id, number * LEAK_EVERY, "stored", "leak")
    return job


def test_a_worker_that_eats_memory_leaves_by_itself(
    make_box: MakeBox, faults: Faults, fault_mounts: list[str], say: Say
) -> None:
    # Two that did so at once could reach the container's limit before they reach their own: then the kernel may choose one.
    box = make_box(
        *fault_mounts, **faults.environment(), WORKERS="1", WORKER_MEMORY_LIMIT_MB=str(OWN_LIMIT_MB)
    )
    box.run()
    box.await_ready()
    with peak_of(box) as peak:
        leaking_job(box, faults).check_completed()
    say(f"{LEAKS} x 50 MB leaked: peak {peak.highest_mb:.0f} MB, recycles {recycles(box)}")
    assert not faults.left()
    assert recycles(box)["self"] >= 1
    assert OWN_LIMIT_MB < peak.highest_mb < HARD_MARK_MB
    assert box.oom_kills() == 0


def test_the_guard_recycles_a_worker_that_eats_memory_before_the_kernel_acts(
    make_box: MakeBox, faults: Faults, fault_mounts: list[str], say: Say
) -> None:
    # Its own limit is out of the way: only the guard's mark over the whole container is left.
    box = make_box(*fault_mounts, **faults.environment(), WORKERS="1", WORKER_MEMORY_LIMIT_MB="470")
    box.run()
    box.await_ready()
    time.sleep(GROWN_UP_SECONDS)
    with peak_of(box) as peak:
        leaking_job(box, faults).check_completed()
    say(f"only the guard: peak {peak.highest_mb:.0f} MB, recycles {recycles(box)}")
    assert recycles(box)["memory_soft"] + recycles(box)["memory_hard"] >= 1
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
    for program in ("redis-server", "services.api", "services.monitor", "ops.run.supervision"):
        assert after[program] == before[program], "the kernel took something that is not a worker"
    assert after["worker-1"] != before["worker-1"] or after["worker-2"] != before["worker-2"]


def recycles(box: Box) -> dict[str, int]:
    """Return how many workers were recycled, by reason."""
    metrics = box.get("/metrics", key=box.metrics_token).body.decode()
    found = re.findall(r'^shapbox_worker_recycles_total\{reason="(\w+)"\} (\S+)$', metrics, re.MULTILINE)
    return {reason: round(float(count)) for reason, count in found}


def pids(box: Box) -> dict[str, int]:
    """Return the process ids in the container by what they run."""
    script = r'for p in /proc/[0-9]*; do echo "${p#/proc/} $(tr "\0" " " < $p/cmdline)"; done 2>/dev/null'
    found = {}
    for line in box.exec("sh", "-c", script).splitlines():
        pid, _, command = line.partition(" ")
        for program in (
            "redis-server",
            "services.api",
            "services.monitor",
            "ops.run.supervision",
            "worker-1",
            "worker-2",
        ):
            if program in command:
                found[program] = int(pid)
    return found
