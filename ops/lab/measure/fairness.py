"""The wait of one row next to a huge job, and the cost of small jobs for the huge one."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops.lab.measure.appliance import Appliance, MeasureError, example_rows
from shared.models.version import ModelVersion

#: Requests of one row on the idle appliance, and those before them that are not counted.
IDLE_REQUESTS, WARM_UP = 1000, 50
#: Different rows that the small requests take turns with.
SMALL_ROWS = 1000
#: Requests between two looks whether the huge job still runs: a look is a request itself.
LOOK_EVERY = 20
#: Seconds between two looks at the huge job when nothing else is sent.
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Waits:
    """How long each small request took, in seconds."""

    name: str
    seconds: list[float]

    def line(self) -> str:
        """Return one line of the table."""
        p50, p99 = np.percentile(np.array(self.seconds) * 1000, [50, 99])
        return f"  {self.name:<22}{len(self.seconds):>9}{p50:>10.1f}{p99:>10.1f}{max(self.seconds) * 1000:>10.1f}"


def measure_fairness(appliance: Appliance, model: str, rows: int) -> None:
    """Print p50, p99 and max of one-row requests, idle and next to a job; and the job's rows/s."""
    version = appliance.model(model)
    matrix = example_rows(version, rows)
    small = _small_bodies(version)
    _send(appliance, small, lambda sent: sent < WARM_UP)
    idle = Waits("idle", _send(appliance, small, lambda sent: sent < IDLE_REQUESTS))
    alone = _huge(appliance, version, matrix, lambda path: _wait(appliance, path))
    beside: list[float] = []
    loaded = _huge(
        appliance,
        version,
        matrix,
        lambda path: beside.extend(_send(appliance, small, lambda sent: _runs(appliance, path, sent))),
    )
    print(f"POST /v1/explain of one row, {version.id}, one after the other; milliseconds")
    print(f"  {'':<22}{'requests':>9}{'p50':>10}{'p99':>10}{'max':>10}")
    print(idle.line())
    print(Waits(f"beside {rows} rows", beside).line())
    print(f"the huge job: {alone:,.0f} rows/s alone, {loaded:,.0f} rows/s beside the small requests")


def _small_bodies(version: ModelVersion) -> list[bytes]:
    return [
        json.dumps({"model": version.id, "rows": [row.tolist()]}).encode()
        for row in example_rows(version, SMALL_ROWS)
    ]


def _send(appliance: Appliance, bodies: list[bytes], goes_on: Callable[[int], bool]) -> list[float]:
    """Send requests while `goes_on`, given how many were sent; return the seconds of each."""
    connection = appliance.connect()
    seconds: list[float] = []
    while goes_on(len(seconds)):
        body = bodies[len(seconds) % len(bodies)]
        started = time.perf_counter()
        answer = appliance.request(
            connection, "POST", "/v1/explain", body, {"Content-Type": "application/json"}
        )
        answer.read()
        seconds.append(time.perf_counter() - started)
        if answer.status != 200:
            raise MeasureError(f"POST /v1/explain was answered with {answer.status}, not with values.")
    connection.close()
    return seconds


def _huge(
    appliance: Appliance, version: ModelVersion, rows: NDArray[np.float32], meanwhile: Callable[[str], object]
) -> float:
    """Run one huge job and something next to it; return the job's rows per second."""
    body = io.BytesIO()
    np.save(body, rows)
    headers = {"Content-Type": "application/x-npy"}
    connection = appliance.connect()
    path = f"/v1/jobs?model={version.id}"
    answer = appliance.request(connection, "POST", path, body.getvalue(), headers)
    accepted = answer.headers["Location"]
    answer.read()
    meanwhile(accepted)
    job = _wait(appliance, accepted)
    appliance.request(connection, "DELETE", accepted).read()
    started, finished = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
    return len(rows) / (finished - started).total_seconds()


def _runs(appliance: Appliance, path: str, sent: int) -> bool:
    return sent % LOOK_EVERY != 0 or _job(appliance, path)["status"] in {"queued", "running"}


def _wait(appliance: Appliance, path: str) -> dict[str, Any]:
    while (job := _job(appliance, path))["status"] in {"queued", "running"}:
        time.sleep(LOOK_SECONDS)
    if job["status"] != "completed":
        raise MeasureError(f"The huge job has {job['status']}: {job['error']}")
    return job


def _job(appliance: Appliance, path: str) -> dict[str, Any]:
    connection = appliance.connect()
    try:
        return dict(appliance.json(connection, "GET", path))
    finally:
        connection.close()
