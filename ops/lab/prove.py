"""`python -m ops.lab.prove`: tries a container in its 512 MB. Needs Docker.

It starts, is kept at full load, and explains a job of a million rows. PROVE_MINUTES (10) says how long it is kept at
full load. The image is built by `make prove`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ops.container.box import Box
from ops.container.engine import DockerError, require_engine
from ops.lab.bench.models import Shape, kept, write_version
from ops.lab.load import Load
from ops.lab.memory import MB, peak_of
from ops.lab.reference import Matrix, compare, example_rows, reference_contributions
from ops.lab.report import number_from_environment, progress, run_program, verdict
from ops.lab.rows import Form, Mixture, RowPool, planned_jobs, read_result
from ops.lab.trial_appliance import free_ports
from shapbox import RefusedError, Shapbox
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion

#: The model of the load: in XGBoost, a batch of 500 rows takes a core half a second.
SLOW = Shape(depth=6, trees=500, features=30)
#: Clients, and rows of each of their jobs.
CLIENTS, JOB_ROWS = 4, 10_000
#: MB of the working set at full load, at most.
MOST_MB = 350
#: Seconds until an idle container has come to rest.
REST_SECONDS = 10.0
#: Rows of the huge job, and those of them that are compared value by value; the appliance checks all sums.
MILLION, CHECKED = 1_000_000, 5000


def main() -> int:
    """Run the proof; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.lab.prove", description=__doc__)
    parser.parse_args()
    minutes = number_from_environment(parser, "PROVE_MINUTES", 10)
    return run_program("prove", lambda: _run(minutes), DockerError, RefusedError)


def _run(minutes: float) -> int:
    require_engine()
    with tempfile.TemporaryDirectory(prefix="shapbox-proof-") as folder:
        models = Path(folder) / "models"
        shutil.copytree(ROOT / "models", models, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        slow = write_version(models, SLOW)
        for path in (Path(folder), *models.rglob("*")):  # the container's user reads them
            path.chmod(0o755 if path.is_dir() else 0o644)
        with _box(models) as box:
            started = time.monotonic()
            box.run()
            box.await_ready()
            _say("ready", f"{time.monotonic() - started:.1f} s", "from docker run")
            time.sleep(REST_SECONDS)
            _say("idle", _mb(box.working_set_bytes()), "working set")
            faults = prove_load(box, slow, np.resize(kept(SLOW)[1], (JOB_ROWS, SLOW.features)), minutes)
            faults += _prove_million(box, ModelCatalog.load(models).get("breast-cancer"))
            faults += _prove_end(box)
    print(verdict(faults))
    return 1 if faults else 0


@contextmanager
def _box(models: Path) -> Iterator[Box]:
    name = f"shapbox-proof-{free_ports(1)[0]}"
    options = [f"--volume={models}:/models:ro"]
    box = Box(name, free_ports(1)[0], name, {"MODELS_DIR": "/models"}, options)
    try:
        yield box
    finally:
        box.remove(with_data=True)


def prove_load(box: Box, version: ModelVersion, matrix: Matrix, minutes: float) -> list[str]:
    """Keep a container at full load, check every value, and return what is wrong."""
    rows = len(matrix)
    print(f"explaining {rows:,} rows of {version.id}, to compare with …", flush=True)
    load = Load(box, {version.id: RowPool(version, matrix)})
    mixture, ledger = Mixture(((rows, rows, 1),), forms=(Form.NPY,)), load.ledger
    started = time.monotonic()
    with peak_of(box.working_set_bytes) as peak, progress("prove") as say:
        jobs = [planned_jobs([version.id], mixture, f"prove-{client}") for client in range(CLIENTS)]
        load.work(jobs, minutes * 60, lambda text: say(f"{text}, peak {_mb(peak.highest)}"))
    seconds, checked = time.monotonic() - started, ledger.counts["rows_checked"]
    faults = list(ledger.findings)
    if not 0 < peak.highest < MOST_MB * MB:
        faults.append(f"the peak under load is {_mb(peak.highest)}, and {MOST_MB} MB are promised")
    if not checked:
        faults.append("not one job was completed and checked")
    work = f"{checked // rows} jobs of {rows:,} rows, {checked / seconds:,.0f} rows/s, all values compared"
    _say("full load", _mb(peak.highest), f"peak in {seconds / 60:.1f} minutes: {work}")
    return faults


def _prove_million(box: Box, version: ModelVersion) -> list[str]:
    rows = example_rows(version, MILLION)
    started = time.monotonic()
    with peak_of(box.working_set_bytes) as peak, Shapbox(box.url, box.api_key) as client:
        job = client.submit(rows, model=version.id)
        values = read_result(Form.NPY, job.fetch(Form.NPY), len(version.outputs))
        seconds = time.monotonic() - started
        job.delete()
    _say("1,000,000 rows", _mb(peak.highest), f"peak; sent, explained and fetched in {seconds:.0f} s")
    if len(values) != MILLION:
        return [f"{len(values)} rows came back of {MILLION}"]
    picked = np.linspace(0, MILLION - 1, CHECKED).astype(int)
    wanted = reference_contributions(version.model_path, rows[picked], version.contract.trees)
    found = compare(values[picked], wanted, [*version.features, "base value"])
    return [f"of every {MILLION // CHECKED}th of the million rows, {found.said}"] if found.wrong else []


def _prove_end(box: Box) -> list[str]:
    kills, ended = box.oom_kills(), box.log().count("exited: worker")
    _say("docker stop", f"{box.stop():.1f} s", f"exit code {box.state()['ExitCode']}")
    faults = [f"the kernel has killed {kills} processes for memory"] if kills else []
    return [*faults, *([f"{ended} workers have ended before the stop"] if ended else [])]


def _say(what: str, figure: str, detail: str) -> None:
    print(f"{what:<16}{figure:>10}  {detail}", flush=True)


def _mb(size: int) -> str:
    return f"{size / MB:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
