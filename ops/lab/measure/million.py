"""One huge job as NPY and as CSV: its memory next to a small one, and its progress."""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ops.lab.measure.appliance import Appliance, MeasureError, example_rows
from ops.lab.reference import EXACT, distance, reference_contributions
from shared.models.version import ModelVersion

#: Rows of the small job that the huge one is compared with.
SMALL = 1000
#: Values are compared for so many rows, spread over the whole result.
CHECKED = 5000
#: Seconds between two looks at the progress.
LOOK_SECONDS = 0.25
#: Bytes that are read of the result at a time.
BLOCK = 1 << 20


def measure_million(appliance: Appliance, model: str, rows: int) -> None:
    """Print a table: media type, rows, seconds, rows a second, peak PSS of each program."""
    version = appliance.model(model)
    matrix = example_rows(version, rows)
    peaks: dict[tuple[str, int], dict[str, int]] = {}
    for media_type in ("application/x-npy", "text/csv"):
        for count in (SMALL, rows):
            peaks[media_type, count] = _run(appliance, version, matrix[:count], media_type)
    print(
        "\npeak PSS in MB of            " + "".join(f"{name:>18}" for name in sorted(peaks[media_type, rows]))
    )
    for (media_type, count), peak in peaks.items():
        cells = "".join(f"{peak[name] / 2**20:18.1f}" for name in sorted(peak))
        print(f"  {media_type:<18} {count:>8}" + cells)


def _run(
    appliance: Appliance, version: ModelVersion, rows: NDArray[np.float32], media_type: str
) -> dict[str, int]:
    connection = appliance.connect()
    with tempfile.TemporaryDirectory(prefix="shapbox-measure-") as folder:
        body = _body(Path(folder) / "body", version, rows, media_type)
        with appliance.peaks() as peaks:
            started = time.monotonic()
            with body.open("rb") as file:
                headers = {"Content-Type": media_type, "Content-Length": str(body.stat().st_size)}
                answer = appliance.request(connection, "POST", f"/v1/jobs?model={version.id}", file, headers)
                path = answer.headers["Location"]
                answer.read()
            accepted = time.monotonic()
            steps = _follow(appliance, path)
            ended = time.monotonic()
            _fetch(appliance, path, Path(folder) / "result")
            fetched = time.monotonic()
        _check(version, rows, Path(folder) / "result")
    appliance.request(connection, "DELETE", path).read()
    print(
        f"{media_type:<18} {len(rows):>8} rows: {body.name} accepted after {accepted - started:6.1f} s, explained after "
        f"{ended - started:6.1f} s ({len(rows) / (ended - started):,.0f} rows/s), fetched in {fetched - ended:5.1f} s; "
        f"{steps} different counts of completed batches seen"
    )
    return dict(peaks)


def _body(path: Path, version: ModelVersion, rows: NDArray[np.float32], media_type: str) -> Path:
    if media_type == "application/x-npy":
        with path.open("wb") as file:
            np.save(file, rows)
        return path
    names = io.StringIO()
    names.write(",".join(f'"{name}"' for name in version.features))
    np.savetxt(path, rows, fmt="%.9g", delimiter=",", header=names.getvalue(), comments="")
    return path


def _follow(appliance: Appliance, path: str) -> int:
    """Wait for the job's end; return how many different counts of completed batches were seen."""
    connection = appliance.connect()
    seen: list[int] = []
    while True:
        job = appliance.json(connection, "GET", path)
        done, total = job["batches"]["completed"], job["batches"]["total"]
        if seen and done < seen[-1]:
            raise MeasureError(f"Progress went back from {seen[-1]} to {done} batches.")
        if not seen or done > seen[-1]:
            seen.append(done)
            print(f"\r  {done}/{total} batches", end="", flush=True)
        if job["status"] == "completed":
            print("\r" + " " * 40 + "\r", end="")
            return len(seen)
        if job["status"] in {"failed", "cancelled"}:
            raise MeasureError(f"The job has {job['status']}: {job['error']}")
        time.sleep(LOOK_SECONDS)


def _fetch(appliance: Appliance, path: str, target: Path) -> None:
    answer = appliance.request(
        appliance.connect(), "GET", f"{path}/result", headers={"Accept": "application/x-npy"}
    )
    with target.open("wb") as file:
        while block := answer.read(BLOCK):
            file.write(block)


def _check(version: ModelVersion, rows: NDArray[np.float32], result: Path) -> None:
    given = np.load(result, mmap_mode="r")
    picked = np.unique(np.linspace(0, len(rows) - 1, min(CHECKED, len(rows))).astype(int))
    wanted = reference_contributions(version.model_path, rows[picked])
    apart = distance(given[picked], wanted)
    if len(given) != len(rows) or apart > EXACT:
        raise MeasureError(
            f"The values are wrong: {len(given)} rows of {len(rows)}, up to {apart:.1e} apart."
        )
