"""Stops, kills and memory in a container: the guard's actions, and the kernel's."""

from __future__ import annotations

import re
import time

from ops.container.box import Box
from ops.container.engine import docker
from ops.lab.memory import peak_of
from tests.container.conftest import MakeBox, Say
from tests.support.faults.placing import Faults, timed
from tests.support.faults.submitted import BATCH_ROWS, eventually, submit

#: MB of the working set while nothing is to be done, and seconds until it has come to rest.
MOST_IDLE_MB, REST_SECONDS = 200, 10.0
#: Seconds in which a stop must be over.
MOST_STOP_SECONDS = 25.0
#: Batches that leak in turn, each 50 MB: more than the container holds. Every so many batches one does.
LEAKS, LEAK_EVERY = 9, 10
#: MB of a worker's own limit that is out of the way: only the guard's mark over the whole container is left.
NO_LIMIT_MB = 470
#: Programs whose process the kernel must not take.
LASTING = ("redis-server", "services.api", "services.monitor", "ops.run.supervision")
PROCESSES = r'for p in /proc/[0-9]*; do echo "${p#/proc/} $(tr "\0" " " < $p/cmdline)"; done 2>/dev/null'


def test_a_container_of_one_cpu_idles_in_200_mb_stops_in_order_and_goes_on_after_stop_and_kill(
    make_box: MakeBox, faults: Faults, fault_mounts: list[str], say: Say
) -> None:
    box = make_box("--cpus=1", *fault_mounts, **faults.environment())
    box.run()
    seconds = box.await_ready()
    time.sleep(REST_SECONDS)
    idle = box.working_set_bytes() / 2**20
    say(f"ready {seconds:.1f} s after docker run; idle working set {idle:.1f} MB")
    assert idle <= MOST_IDLE_MB
    assert box.get("/readyz").json()["probes"]["workers"]["alive"] == 1
    eventually(lambda: box.state()["Health"]["Status"] == "healthy", box.log_tail)

    with faults.held():
        job = submit(box, "breast-cancer", 30_000)
        faults.place(job.id, 0, "compute", "slow")
    eventually(faults.strikes, box.log_tail)
    seconds = box.stop()
    say(f"docker stop took {seconds:.1f} s")
    assert box.state()["ExitCode"] == 0
    assert seconds < MOST_STOP_SECONDS
    # It took 4 s, all of it after the signal, and nobody runs it again.
    assert (job.id, 0) in {(step.job_id, step.batch) for step in faults.steps("recorded")}

    docker("start", box.name)
    box.await_ready()
    job.check_completed()
    assert sum((step.job_id, step.batch) == (job.id, 0) for step in faults.steps("read")) == 1
    assert len(faults.steps("recorded")) == job.batches

    with faults.held():
        job = submit(box, "breast-cancer", 30_000)
        faults.place(job.id, 10, "compute", "slow")
    eventually(lambda: len(faults.strikes()) == 2, box.log_tail)
    docker("kill", box.name)
    docker("start", box.name)
    box.await_ready()
    recorded = job.document()["batches"]["completed"]
    say(f"docker kill in mid-job: {recorded} of {job.batches} batches recorded at the next start")
    assert 10 <= recorded < job.batches
    job.check_completed()


def test_a_worker_that_eats_memory_is_recycled_by_the_guard_before_the_kernel_acts(
    make_box: MakeBox, faults: Faults, fault_mounts: list[str], say: Say
) -> None:
    # Two that did so at once could reach the container's limit first: then the kernel may choose one.
    own = {"WORKERS": "1", "WORKER_MEMORY_LIMIT_MB": str(NO_LIMIT_MB)}
    box = make_box(*fault_mounts, **{**faults.environment(), **timed(young_worker_seconds=2.0), **own})
    box.run()
    box.await_ready()
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
    assert recycles["memory_soft"] + recycles["memory_hard"] >= 1
    assert peak.highest_mb < 512
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
