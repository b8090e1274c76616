"""The seconds of a scrape on both ports during a huge job, and its cost for the monitor."""

from __future__ import annotations

import io
import time

import numpy as np
import psutil

from ops.address import local_address
from ops.http_call import call
from ops.lab.measure.appliance import Appliance, MeasureError, example_rows

#: Seconds between two scrapes: the next one meets another moment of the load.
PAUSE_SECONDS = 0.02


def measure_scrape(appliance: Appliance, model: str, rows: int, scrapes: int, token: str) -> None:
    """Print p50, p99 and max of so many scrapes of each port beside a job of so many rows.

    The CPU time that the monitor took meanwhile, for each scrape, does not depend on who else wants the CPUs.
    """
    metrics_url = f"http://127.0.0.1:{appliance.settings.metrics_port}/metrics"
    public_url = f"{local_address(appliance.settings)}/metrics"
    # Each route that is used has a histogram of its own: the more, the larger a scrape.
    connection = appliance.connect()
    for path in ("/v1/jobs", "/v1/models", f"/v1/models/{model}", "/version", "/openapi.json"):
        appliance.request(connection, "GET", path).read()
    job = _submit(appliance, model, rows)
    print(f"scrapes beside a job of {rows} rows; milliseconds")
    print(f"  {'':<14}{'scrapes':>9}{'p50':>8}{'p99':>8}{'max':>8}{'CPU':>8}{'lines':>8}")
    monitor = psutil.Process(appliance.programs()["services.monitor"])
    for name, url, key in (("METRICS_PORT", metrics_url, None), ("PORT", public_url, token)):
        _measure(name, url, {"Authorization": f"Bearer {key}"} if key else {}, scrapes, monitor)
    ended = appliance.json(connection, "GET", job)["finished_at"]
    appliance.request(connection, "DELETE", job).read()
    if ended:
        raise MeasureError("The job ended before the last scrape: give it more --rows.")


def _submit(appliance: Appliance, model: str, rows: int) -> str:
    version, body = appliance.model(model), io.BytesIO()
    np.save(body, example_rows(version, rows))
    answer = appliance.request(
        appliance.connect(),
        "POST",
        f"/v1/jobs?model={version.id}",
        body.getvalue(),
        {"Content-Type": "application/x-npy"},
    )
    answer.read()
    return str(answer.headers["Location"])


def _measure(name: str, url: str, headers: dict[str, str], scrapes: int, monitor: psutil.Process) -> None:
    seconds, lines, before = [], 0, _cpu_seconds(monitor)
    for _ in range(scrapes):
        started = time.perf_counter()
        answer = call(url, headers=headers)
        seconds.append(time.perf_counter() - started)
        if answer.status != 200:
            raise MeasureError(f"GET {url} was answered with {answer.status}.")
        lines = answer.body.count(b"\n")
        time.sleep(PAUSE_SECONDS)
    cpu = (_cpu_seconds(monitor) - before) * 1000 / scrapes
    p50, p99 = np.percentile(np.array(seconds) * 1000, [50, 99])
    print(f"  {name:<14}{scrapes:>9}{p50:>8.1f}{p99:>8.1f}{max(seconds) * 1000:>8.1f}{cpu:>8.1f}{lines:>8}")


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
