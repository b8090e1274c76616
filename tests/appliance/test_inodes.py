"""A disk that runs out of inodes: jobs are refused with the true reason, deletion heals it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ops.lab.trial_appliance import Appliance
from shared.disk import RESERVE_INODES, free_space
from tests.support.client import (
    check_refusal,
    finish,
    is_ready,
    offer,
    probes,
    send,
    the_model,
    until,
)
from tests.support.faults.submitted import shaken_examples
from tests.support.small_disk import small_disk

#: Inodes of the disk, and threads that send jobs.
INODES, CLIENTS = RESERVE_INODES + 600, 4
#: Inodes that the appliance itself may take meanwhile: log rewrites, temporary files.
OWN = 20


@pytest.fixture
def box() -> Iterator[Appliance]:
    with small_disk(f"size=1g,nr_inodes={INODES}") as folder:
        running = Appliance(folder, {"WORKERS": "1"})
        running.start()
        yield running
        running.stop()


def free_inodes(box: Appliance) -> int:
    space = free_space(box.data_dir)
    assert space is not None
    assert space.inodes is not None
    return space.inodes


def test_one_row_jobs_take_one_inode_each_and_are_refused_before_the_reserve(box: Appliance) -> None:
    version = the_model()
    rows = shaken_examples(version, 200)
    kept = send(box, version, rows[:1])
    finish(kept)
    before = free_inodes(box)

    def fill(client: int) -> list[str]:
        """Send one-row jobs until one is refused."""
        accepted = []
        while (answer := offer(box, version, rows[client : client + 1])).status == 202:
            accepted.append(answer.json()["id"])
        problem = check_refusal(answer, 507, "storage-full")
        assert "free inodes" in problem["detail"]
        return accepted

    with ThreadPoolExecutor(CLIENTS) as threads:
        accepted = [job_id for some in threads.map(fill, range(CLIENTS)) for job_id in some]
    assert abs(before - RESERVE_INODES - len(accepted)) <= OWN
    assert free_inodes(box) >= RESERVE_INODES - OWN
    until(
        "all run", lambda: box.get("/v1/appliance").json()["jobs"]["completed"] == len(accepted) + 1, 120, box
    )

    for number in range(OWN):  # so that an inode that the appliance frees does not make it ready
        (box.data_dir / f"filler-{number}").touch()
    status, found = probes(box)
    assert status == 503
    assert found["storage"]["free_inodes"] < RESERVE_INODES
    assert found["storage"]["free_bytes"] > 2**29
    assert "free inodes" in found["storage"]["detail"]
    check_refusal(offer(box, version, rows), 507, "storage-full")
    assert offer(box, version, rows[:1], "/v1/explain").status == 200  # it stores nothing
    kept.check_values()  # results are still given

    for job_id in accepted[: 2 * OWN]:
        assert box.call("DELETE", f"/v1/jobs/{job_id}").status == 204
    until("ready", lambda: is_ready(box), appliance=box)
    finish(send(box, version, rows[:1]))
