"""Measures the container in its 512 MB: start, full load, a job of a million rows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ops.container.box import Box
from ops.container.load import Load, Matrix, ProofError, have_done
from ops.container.peak import Peak, peak_of
from ops.container.pictures import Picture, fetch_pictures
from ops.container.slow_model import DEPTH, TREES, models_with_slow_one
from ops.lab.measure.appliance import example_rows
from ops.lab.reference import EXACT, bare_explainer, distance
from ops.lab.trial_appliance import free_ports
from shared.engines.lean_xgboost import import_xgboost
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion

#: Clients, and rows of each of their jobs.
CLIENTS, JOB_ROWS = 4, 10_000
#: MB of the working set at full load, at most.
MOST_MB = 350
#: Seconds until an idle container has come to rest, and between two lines of progress.
REST_SECONDS, PROGRESS_SECONDS = 10.0, 30.0
#: Rows of the huge job, and those of them that are compared value by value; all are compared by their sums.
MILLION, CHECKED = 1_000_000, 5000
#: Seconds that each plot of the huge job may take.
MOST_PLOT_SECONDS = 5.0
#: The largest difference that a sum of float32 values may have from the margin.
EXACT_SUM = 1e-4


def prove(minutes: float) -> None:
    """Start a container of its own, work it, and print what was seen.

    Raises DockerError or ProofError if anything is not as it must be.
    """
    with tempfile.TemporaryDirectory(prefix="shapbox-proof-") as folder:
        models, slow = models_with_slow_one(Path(folder))
        with _box(models) as box:
            started = time.monotonic()
            box.run()
            box.await_ready()
            _say("ready", f"{time.monotonic() - started:.1f} s", "from docker run")
            time.sleep(REST_SECONDS)
            _say("idle", _mb(box.working_set_bytes()), "working set")
            _prove_load(box, slow, minutes)
            _prove_million(box, ModelCatalog.load(models).get("breast-cancer"))
            _prove_end(box)


@contextmanager
def _box(models: Path) -> Iterator[Box]:
    name = f"shapbox-proof-{free_ports(1)[0]}"
    options = [f"--volume={models}:/models:ro"]
    box = Box(name, free_ports(1)[0], name, {"MODELS_DIR": "/models"}, options)
    try:
        yield box
    finally:
        box.remove(with_data=True)


def _prove_load(box: Box, version: ModelVersion, minutes: float) -> None:
    load = Load(box, version, example_rows(version, JOB_ROWS))
    print(f"explaining {JOB_ROWS:,} rows of {TREES} trees, to compare with …", flush=True)
    load.start(CLIENTS)
    started = time.monotonic()
    with peak_of(box) as peak:
        _watch(minutes * 60, load, peak)
        load.stop()
    seconds = time.monotonic() - started
    if not 0 < peak.highest < MOST_MB * 2**20:
        raise ProofError(f"The peak under load is {_mb(peak.highest)}, and {MOST_MB} MB are promised.")
    _say(
        "full load",
        _mb(peak.highest),
        f"peak in {seconds / 60:.1f} minutes: {load.jobs} jobs of {JOB_ROWS:,} rows in batches of 500, depth {DEPTH} x "
        f"{TREES} trees, {load.jobs * JOB_ROWS / seconds:,.0f} rows/s, values {load.largest_difference:.1e} apart",
    )


def _watch(seconds: float, load: Load, peak: Peak) -> None:
    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds and not load.faults:
        time.sleep(min(PROGRESS_SECONDS, seconds - passed))
        done = (time.monotonic() - started) / 60
        print(
            f"  {done:4.1f} of {seconds / 60:.1f} min: {load.jobs} jobs, {_mb(peak.last)}, peak {_mb(peak.highest)}",
            flush=True,
        )


def _prove_million(box: Box, version: ModelVersion) -> None:
    rows = example_rows(version, MILLION)
    pictures: list[Picture] = []
    started = time.monotonic()
    with peak_of(box) as peak:
        values = have_done(box, version, rows, lambda path: pictures.extend(fetch_pictures(box, path)))
    drawing = sum(picture.seconds for picture in pictures)
    seconds = time.monotonic() - started - drawing
    apart, apart_sums = _differences(version, rows, values)
    _say(
        "1,000,000 rows",
        _mb(peak.highest),
        f"peak; sent, explained and fetched in {seconds:.0f} s; {CHECKED} rows {apart:.1e} apart, all sums {apart_sums:.1e}",
    )
    slowest = max(pictures, key=lambda picture: picture.seconds)
    _say("its plots", f"{drawing:.1f} s", f"summary and {len(pictures) - 1} plots; slowest {slowest}")
    if slowest.seconds > MOST_PLOT_SECONDS:
        raise ProofError(f"{slowest}, and {MOST_PLOT_SECONDS} s are promised.")
    if len(values) != MILLION or apart > EXACT or apart_sums > EXACT_SUM:
        raise ProofError(f"{len(values)} rows came back, and their values are wrong.")


def _differences(version: ModelVersion, rows: Matrix, values: Matrix) -> tuple[float, float]:
    """Return the difference of some values from XGBoost's, and of all sums from the margins."""
    picked = np.linspace(0, len(rows) - 1, CHECKED).astype(int)
    wanted = bare_explainer(version.model_path)(rows[picked])
    xgboost = import_xgboost()
    booster = xgboost.Booster({"nthread": 1}, model_file=version.model_path)
    margins = booster.predict(xgboost.DMatrix(rows, nthread=1), output_margin=True, validate_features=False)
    sums = values.sum(axis=1, dtype=np.float64)
    return distance(values[picked], wanted), float(np.abs(sums - margins).max())


def _prove_end(box: Box) -> None:
    kills = box.oom_kills()
    _say("kernel", str(kills), "processes killed for memory")
    ended = box.log().count("exited: worker")
    _say("workers", str(ended), "ended before the stop")
    _say("docker stop", f"{box.stop():.1f} s", f"exit code {box.state()['ExitCode']}")
    if kills:
        raise ProofError("The kernel has killed a process for memory.")
    if ended:
        raise ProofError(f"{ended} workers have ended before the stop.")


def _say(what: str, figure: str, detail: str) -> None:
    print(f"{what:<16}{figure:>10}  {detail}", flush=True)


def _mb(size: int) -> str:
    return f"{size / 2**20:.1f} MB"
