"""A short soak of the supervised whole, and proof that it sees what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from ops.lab.soak.client import Client
from ops.lab.soak.history import sort_out
from ops.lab.soak.mixture import planned_jobs
from ops.lab.soak.row_pool import RowPool
from ops.lab.soak.samples import read_samples
from ops.lab.soak.tally import Tally
from ops.lab.trial_appliance import Appliance
from shared.build import ROOT
from shared.models.catalog import ModelCatalog


def run(*arguments: str, minutes: str = "0.5") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops.lab.soak", *arguments],
        cwd=ROOT,
        env={**os.environ, "SOAK_MINUTES": minutes},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def test_a_short_soak_passes_and_its_report_can_be_made_again(tmp_path: Path) -> None:
    done = run("--rows", "2000", "--report", str(tmp_path / "first"))
    assert done.returncode == 0, done.stdout + done.stderr

    history = sort_out(read_samples(tmp_path / "first" / "soak.csv"))
    assert set(history.runs) == {"api", "monitor", "redis", "supervisord", "worker-1", "worker-2"}
    assert len(history.working_set) > 20
    assert history.seconds > 29
    assert history.counts["jobs_done"] > 0
    assert history.counts["one_row_answers"] > 0
    assert history.counts["values_checked"] > 0

    again = run("--from", str(tmp_path / "first" / "soak.csv"), "--report", str(tmp_path / "again"))
    assert again.returncode == 0, again.stdout + again.stderr
    for name in ("soak.md", "soak.svg"):
        assert (tmp_path / "again" / name).read_text() == (tmp_path / "first" / name).read_text()


def test_a_soak_without_a_sensible_length_is_refused() -> None:
    assert "SOAK_MINUTES" in run(minutes="-1").stderr


def test_a_client_finds_wrong_values_and_leaves_no_job_behind(appliance: Appliance) -> None:
    pools = {version.id: RowPool.of(version, 600) for version in ModelCatalog.load(ROOT / "models").latest()}
    # Seen from rows that are explained wrongly, the appliance's right values are wrong.
    false = {
        name: replace(pool, reference=np.roll(pool.reference, 1, axis=0)) for name, pool in pools.items()
    }
    some = [planned for planned in islice(planned_jobs(sorted(pools), 600, seed=4), 12) if planned.checked]

    for of_model, right in ((pools, True), (false, False)):
        tally = Tally()
        client = Client(appliance, appliance.api_key, of_model, tally, threading.Event())
        client.run_jobs(iter(some))
        client.run_one_row(iter(some[:2]))
        counts = tally.counts()
        assert counts["jobs_done"] == len(some) > 0, tally.faults()
        assert counts["calls_broken"] == 0, tally.faults()
        assert counts["values_wrong"] == (0 if right else len(some) + 2), tally.faults()

    assert appliance.get("/v1/jobs").json()["jobs"] == []
