"""A client of an appliance in trouble: obeys Retry-After and checks every value."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis

from ops.lab.trial_appliance import Appliance
from shapbox import NoAnswerError, Response
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from tests.support.faults.submitted import Matrix, Submitted, as_request

#: Statuses that say: not now.
NOT_NOW = frozenset({429, 503, 507})
#: Seconds that a busy machine is given for what takes a second.
GENEROUS = 120.0
#: Bytes of one of the keys that fill Redis.
FILLER_BYTES = 2**20


def the_model(name: str = "breast-cancer") -> ModelVersion:
    return ModelCatalog.load(ROOT / "models").get(name)


def offer(appliance: Appliance, version: ModelVersion, rows: Matrix, path: str = "/v1/jobs") -> Response:
    """Send rows once."""
    return appliance.call("POST", *as_request(version, rows, path))


def send(appliance: Appliance, version: ModelVersion, rows: Matrix) -> Submitted:
    """Send rows that must be accepted at once."""
    answer = offer(appliance, version, rows)
    assert answer.status == 202, answer
    return Submitted(appliance, answer.json()["id"], version, rows)


def send_obeying(appliance: Appliance, version: ModelVersion, rows: Matrix) -> Submitted:
    """Send rows until they are accepted, as Retry-After says."""
    deadline = time.monotonic() + GENEROUS
    while (answer := offer(appliance, version, rows)).status != 202:
        check_refusal(answer)
        assert time.monotonic() < deadline, answer
        time.sleep(float(answer.headers["retry-after"]))
    return Submitted(appliance, answer.json()["id"], version, rows)


def check_refusal(answer: Response, status: int | None = None, slug: str | None = None) -> dict[str, Any]:
    """Check that an answer says "not now" as the contract has it; return its problem document."""
    assert answer.status in NOT_NOW, answer
    assert status in {None, answer.status}, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert 0 < int(answer.headers["retry-after"]) <= 120
    problem = dict(answer.json())
    assert problem["status"] == answer.status
    assert problem["title"]
    assert problem["detail"]
    assert slug in {None, problem["type"].removeprefix("/problems/")}, problem
    return problem


def until(
    what: str, is_so: Callable[[], object], seconds: float = GENEROUS, appliance: Appliance | None = None
) -> float:
    """Wait until something is so; return the seconds. Unanswered calls are repeated."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        with contextlib.suppress(NoAnswerError):
            if is_so():
                return time.monotonic() - started
        time.sleep(0.1)
    raise AssertionError(f"not {what} after {seconds} s\n{appliance.log_tail() if appliance else ''}")


def finish(sent: Submitted, seconds: float = 2 * GENEROUS) -> None:
    """Wait for a job's end and check every value of its result against XGBoost's own."""
    document = sent.finish(seconds)
    assert document["status"] == "completed", document
    sent.check_values()


def probes(appliance: Appliance) -> tuple[int, dict[str, Any]]:
    """Return /readyz's status and its probes."""
    answer = appliance.get("/readyz")
    return answer.status, answer.json()["probes"]


def is_ready(appliance: Appliance) -> bool:
    return appliance.get("/readyz").status == 200


def causes(appliance: Appliance) -> set[str]:
    """Return what /healthz says needs a restart; nothing if it is 200."""
    answer = appliance.get("/healthz")
    found = {cause["cause"] for cause in answer.json()["causes"]}
    assert answer.status == (503 if found else 200), answer
    return found


@contextlib.contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Hold processes by SIGSTOP; those that live on go on afterwards."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def full_redis(connection: redis.Redis, share: float = 1.1) -> Iterator[None]:
    """Fill Redis from outside, to a share of its maxmemory or until it refuses; empty it again."""
    for place in itertools.count():
        memory = connection.info("memory")
        left = int(share * memory["maxmemory"]) - memory["used_memory"]
        if left <= 0:
            break
        try:
            connection.setrange(f"test:filler:{place}", min(left, FILLER_BYTES) - 1, b"x")
        except redis.exceptions.OutOfMemoryError:
            break
    try:
        yield
    finally:
        for key in connection.scan_iter("test:filler:*"):
            connection.delete(key)
