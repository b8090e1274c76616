"""Starting, idling and stopping in 512 MB, read-only, without privileges."""

from __future__ import annotations

import time

import pytest

from ops.container.box import Box
from ops.container.engine import docker_streams
from services.api.explain.inline import MOST_ROWS
from shapbox import Shapbox
from tests.container.conftest import MakeBox, Say
from tests.support.faults.placing import Faults
from tests.support.faults.submitted import eventually, submit

#: MB of the working set while nothing is to be done.
MOST_IDLE_MB = 200
#: Seconds until an idle appliance has come to rest.
REST_SECONDS = 10.0
#: Seconds in which a stop must be over.
MOST_STOP_SECONDS = 25.0
#: A row of the model diabetes.
ROW = [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8, 87]


def test_an_idle_container_with_one_cpu_takes_less_than_200_mb_and_is_called_healthy(
    make_box: MakeBox, say: Say
) -> None:
    box = make_box("--cpus=1")
    box.run()
    seconds = box.await_ready()
    time.sleep(REST_SECONDS)
    idle = box.working_set_bytes() / 2**20
    say(f"ready {seconds:.1f} s after docker run; idle working set {idle:.1f} MB")
    assert idle <= MOST_IDLE_MB
    (starting,) = [line for line in box.log().splitlines() if " starting " in line]
    assert "workers=1" in starting
    assert "workers_because=" in starting
    assert box.get("/readyz").json()["probes"]["workers"]["alive"] == 1
    eventually(lambda: _health(box) == "healthy", box.log_tail, seconds=120)
    # The read-only root cannot be written and need not be.
    assert box.exec("sh", "-c", "touch /opt/shapbox/app/x 2>&1 || true").endswith("Read-only file system\n")
    assert "Read-only" not in box.log()


def _health(box: Box) -> object:
    health = box.state()["Health"]
    assert isinstance(health, dict)
    return health["Status"]


def test_values_from_the_container_are_xgboosts_own_also_where_the_tables_are_lost(box: Box) -> None:
    for model in ("breast-cancer", "wine"):
        submit(box, model, 1200).check_completed()
    (compiled,) = _interventional_values(box, 1)  # by the api itself: no worker maps the tables
    box.exec("sh", "-c", "rm /data/compiled/*-*-*.shaptables")
    by_shap = _interventional_values(box, MOST_ROWS + 1)
    assert by_shap == [pytest.approx(compiled, abs=1e-3)] * (MOST_ROWS + 1)
    assert box.exec("sh", "-c", "grep -ls /shap/ /proc/[0-9]*/maps")


def _interventional_values(box: Box, rows: int) -> list[list[float]]:
    with Shapbox(box.url, box.api_key) as client:
        found = client.explain([ROW] * rows, model="diabetes", method="interventional")
    return [list(map(float, row)) for row in found.values]


def test_a_data_dir_that_cannot_be_written_is_refused_with_the_remedy(image: str) -> None:
    mount = "--mount=type=tmpfs,destination=/data,tmpfs-mode=0755"
    said = docker_streams("run", "--rm", "--read-only", mount, image)
    assert "Shapbox cannot start." in said
    assert "DATA_DIR" in said
    assert "chown -R 10001:10001 /data" in said


def test_docker_stop_ends_it_in_time_with_code_0_and_the_batch_in_hand_recorded(
    make_box: MakeBox, faults: Faults, fault_mounts: list[str], say: Say
) -> None:
    box = make_box(*fault_mounts, **faults.environment())
    box.run()
    box.await_ready()
    with faults.held():
        job = submit(box, "breast-cancer", 60_000)
        faults.place(job.id, 0, "compute", "slow")
    eventually(faults.strikes, box.log_tail)
    seconds = box.stop()
    assert box.state()["ExitCode"] == 0
    assert seconds < MOST_STOP_SECONDS
    # It took 4 s, all of it after the signal, and nobody runs it again.
    assert (job.id, 0) in {(step.job_id, step.batch) for step in faults.steps("recorded")}

    box.start()
    box.await_ready()
    recorded = job.document()["batches"]["completed"]
    job.check_completed()
    say(
        f"docker stop took {seconds:.1f} s; {recorded} of {job.batches} batches were recorded at the next start"
    )
    assert sum((step.job_id, step.batch) == (job.id, 0) for step in faults.steps("read")) == 1
    assert len(faults.steps("recorded")) == job.batches
