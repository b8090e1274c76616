"""The documented backup, taken under load and restored as on another machine."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import redis

from ops.lab.trial_appliance import Appliance
from shared.build import ROOT
from tests.appliance.conftest import MakeAppliance
from tests.support.client import the_model
from tests.support.faults.submitted import Submitted, submit

#: Rows of the jobs that are there when the backup begins: small ones of one file, and some of several batches.
JOBS = (1, 1, 700, 1, 1200, 1)


def test_a_backup_under_load_restores_every_job_that_was_accepted_before(
    make_appliance: MakeAppliance, tmp_path: Path
) -> None:
    box = make_appliance()
    box.start()
    before = [submit(box, the_model().name, rows, seed) for seed, rows in enumerate(JOBS)]
    before[0].finish()
    ended = threading.Event()
    load = [threading.Thread(target=work, args=(box, ended)) for work in (keep_busy, replace_files)]
    for thread in load:
        thread.start()
    documents = [job.document() for job in before]
    copies = [take(box) for _ in range(3)]
    ended.set()
    for thread in load:
        thread.join()
    box.stop()
    restored = make_appliance(DATA_DIR=str(tmp_path / "other"))
    restored.data_dir.mkdir()
    with tarfile.open(fileobj=io.BytesIO(copies[-1])) as copy:
        copy.extractall(restored.data_dir, filter="data")
    restored.start()
    assert restored.api_key == box.api_key
    for job, document in zip(before, documents, strict=True):
        same = Submitted(restored, job.id, job.version, job.rows)
        same.check_completed()
        if document["finished_at"]:
            assert same.document() == document


def take(box: Appliance) -> bytes:
    """Take a backup as docs/operate.md says."""
    command = [sys.executable, "-m", "ops.run.backup"]
    return subprocess.run(command, cwd=ROOT, env=box.environment, stdout=subprocess.PIPE, check=True).stdout


def test_a_folder_without_an_appliance_is_refused_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.run.backup"],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = f"backup: {tmp_path} is not the data of an appliance. Set DATA_DIR to the appliance's.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def keep_busy(box: Appliance, ended: threading.Event) -> None:
    """Have jobs of several batches explained, and some deleted."""
    seed = 100
    while not ended.is_set():
        job = submit(box, the_model().name, 700, seed)
        seed += 1
        if seed % 2:
            box.call("DELETE", f"/v1/jobs/{job.id}")


def replace_files(box: Appliance, ended: threading.Event) -> None:
    """Have Redis replace its files again and again."""
    with redis.Redis(unix_socket_path=str(box.settings().redis_socket)) as client:
        while not ended.wait(0.01):
            if not client.info("persistence")["aof_rewrite_in_progress"]:
                client.bgrewriteaof()
