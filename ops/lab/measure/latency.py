"""How long one row takes over HTTP, beside the same prediction in a bare XGBoost process."""

from __future__ import annotations

import json
import time

import numpy as np
from numpy.typing import NDArray

from ops.lab.measure.appliance import Appliance, MeasureError, example_rows
from ops.lab.reference import bare_explainer

#: Requests that are sent before any is counted.
WARM_UP = 50


def measure_latency(appliance: Appliance, model: str, requests: int) -> None:
    """Print p50 and p99 of both, measured in turn, and how far the values are apart."""
    version = appliance.model(model)
    rows = example_rows(version, requests + WARM_UP)
    explain = bare_explainer(version.model_path)
    over_http, bare, apart = [], [], 0.0
    connection = appliance.connect()
    for row in rows:
        body = json.dumps({"model": version.id, "rows": [row.tolist()]}).encode()
        started = time.perf_counter()
        answer = appliance.request(
            connection, "POST", "/v1/explain", body, {"Content-Type": "application/json"}
        )
        result = json.loads(answer.read())
        between = time.perf_counter()
        wanted = explain(row[np.newaxis])
        ended = time.perf_counter()
        if answer.status != 200:
            raise MeasureError(f"POST /v1/explain was answered with {answer.status}, not with values.")
        over_http.append(between - started)
        bare.append(ended - between)
        apart = max(apart, _apart(result["values"], wanted))
    print(f"{requests} requests of one row, {version.id}, one after the other")
    for name, seconds in (("POST /v1/explain", over_http), ("bare XGBoost process", bare)):
        p50, p99 = np.percentile(np.array(seconds[WARM_UP:]) * 1000, [50, 99])
        print(f"  {name:<22} p50 {p50:7.2f} ms   p99 {p99:7.2f} ms")
    print(f"  largest difference of a value {apart:.1e}")


def _apart(values: list[object], wanted: NDArray[np.float32]) -> float:
    given = np.array(values, dtype=np.float32)
    if given.ndim == 2:
        given = given[:, :, np.newaxis]
    return float(np.abs(given.swapaxes(1, 2) - wanted[:, :, :-1]).max())
