"""A power cut: what the disk holds at that moment is all that the next start finds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ops.lab.chaos.disk import TrialDisk
from ops.lab.trial_appliance import Appliance
from tests.support.client import the_model
from tests.support.faults.submitted import SMALL_BATCHES, submit

#: MB and inodes of the disk.
DISK_MB, INODES = 192, 4096
#: Rows of the jobs that are accepted one after the other: small ones of one file, and one of several batches.
JOBS = (1, 1, 1, 1200, 1, 20)


@pytest.fixture
def disk() -> Iterator[TrialDisk]:
    """Make a disk in a folder with a short path, below which unix sockets fit."""
    folder = Path(tempfile.mkdtemp(prefix="shapbox-"))
    try:
        made = TrialDisk(folder, DISK_MB, INODES)
    except OSError as fault:
        shutil.rmtree(folder)
        pytest.skip(f"no disk can be mounted here: {fault}")
    yield made
    made.unmount()
    shutil.rmtree(folder)


def test_with_durability_power_a_power_cut_loses_no_accepted_job(disk: TrialDisk, tmp_path: Path) -> None:
    box = Appliance(disk.mount / "data", {**SMALL_BATCHES, "DURABILITY": "power"})
    box.log_path = tmp_path / "log"
    with ExitStack() as ending:
        ending.callback(box.kill)
        box.start()
        sent = [submit(box, the_model().name, rows, seed) for seed, rows in enumerate(JOBS)]
        box.kill()
        disk.cut_power()
        box.start()
        for job in sent:
            job.check_completed()
