"""A power cut: what the disk holds at that moment is all that the next start finds."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ops.lab.trial_appliance import Appliance
from tests.support.client import offer, the_model
from tests.support.faults.submitted import SMALL_BATCHES, Submitted, shaken_examples

#: MB of the disk.
DISK_MB = 192
#: Rows of the jobs that are accepted one after the other: small ones of one file, and one of several batches.
JOBS = (1, 1, 1, 1200, 1, 20)


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Mount a file as a disk whose journal is written only when a program asks for it."""
    mount = ["mount", "-o", "loop,commit=3600", str(image), str(folder)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder with a short path, below which unix sockets fit."""
    path = Path(tempfile.mkdtemp(prefix="shapbox-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_with_durability_power_a_power_cut_loses_no_accepted_job(folder: Path) -> None:
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    image, after, version = folder / "disk", folder / "after", the_model()
    with image.open("wb") as file:
        file.truncate(DISK_MB * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0", str(image)], check=True)
    for name in ("mount", "mount-after"):
        (folder / name).mkdir()
    settings = {**SMALL_BATCHES, "DURABILITY": "power"}
    with ExitStack() as stack:
        disk = stack.enter_context(mounted(image, folder / "mount"))
        first = Appliance(disk / "data", settings)
        first.log_path = folder / "first.log"
        first.start()
        stack.callback(first.kill)
        sent = []
        for seed, rows in enumerate(JOBS):
            matrix = shaken_examples(version, rows, seed)
            answer = offer(first, version, matrix)
            assert answer.status == 202, answer
            sent.append((answer.json()["id"], matrix))
        shutil.copy(image, after)  # the power is cut: what was not written to the disk is gone
    with ExitStack() as stack:
        disk = stack.enter_context(mounted(after, folder / "mount-after"))
        second = Appliance(disk / "data", settings)
        second.log_path = folder / "second.log"
        second.start()
        stack.callback(second.kill)
        for job_id, matrix in sent:
            Submitted(second, job_id, version, matrix).check_completed()
