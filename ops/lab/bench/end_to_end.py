"""One job over HTTP, from the first byte of rows to the last byte of the result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ops.http_call import Answer, call
from ops.lab.bench.bodies import Matrix
from ops.lab.reached import Reached
from ops.lab.soak.results import fault_in_values, read_result

#: Seconds that one call may take.
CALL_SECONDS = 600.0
#: The media types whose bodies do not name their model.
NAMES_MODEL = "application/json"


class BenchError(Exception):
    """A job was refused or has failed, or its values are wrong."""


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """Seconds from the first byte until the rows were accepted, explained, and fetched."""

    rows: int
    accepted: float
    explained: float
    fetched: float

    @property
    def rows_a_second(self) -> float:
        """Rows over all of its time."""
        return self.rows / self.fetched


def run_job(
    appliance: Reached, model: str, media_type: str, body: bytes, rows: int
) -> tuple[EndToEnd, bytes]:
    """Send a job, wait, fetch its result in the same media type, delete it, return the result.

    Raises BenchError if it is refused or does not complete, OSError if nobody answers.
    """
    query = "" if media_type == NAMES_MODEL else f"?model={model}"
    began = time.perf_counter()
    answer = _call(appliance, "POST", f"/v1/jobs{query}", 202, body, {"Content-Type": media_type})
    path, accepted = answer.headers["location"], time.perf_counter()
    while not (document := _call(appliance, "GET", f"{path}?wait=60", 200).json())["finished_at"]:
        pass
    if document["status"] != "completed":
        raise BenchError(f"The job has {document['status']}: {document['error']}")
    explained = time.perf_counter()
    result = _call(appliance, "GET", f"{path}/result", 200, headers={"Accept": media_type})
    fetched = time.perf_counter()
    _call(appliance, "DELETE", path, 204)
    return EndToEnd(rows, accepted - began, explained - began, fetched - began), result.body


def check_values(media_type: str, result: bytes, places: NDArray[np.int64], wanted: Matrix) -> None:
    """Compare some rows of the result with XGBoost's own. Raises BenchError if they differ."""
    given = read_result(media_type, result, wanted.shape[1])
    if fault := fault_in_values(given[places], wanted):
        raise BenchError(f"{media_type}: {fault}")


def _call(
    appliance: Reached,
    method: str,
    path: str,
    status: int,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    sent = {"Authorization": f"Bearer {appliance.api_key}", **(headers or {})}
    answer = call(appliance.url + path, method, sent, body, seconds=CALL_SECONDS)
    if answer.status != status:
        raise BenchError(f"{method} {path} was answered with {answer.status}: {answer.body[:300]!r}")
    return answer
