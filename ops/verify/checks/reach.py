"""The appliance itself: it is there, it is the right one, and it is well."""

from __future__ import annotations

import time

from ops.verify.diagnosis import Fault, find_faults
from ops.verify.outcome import NO_ANSWER, FailedError, NotCheckedError, describe
from ops.verify.target import json_or_none, said
from ops.verify.visit import Visit

#: Digits of a commit that must agree at least, and that are shown.
LEAST_DIGITS = 7
#: Seconds between two looks at /readyz.
LOOK_SECONDS = 0.5


def reachable(visit: Visit) -> str:
    """See that something answers there, and that it is Shapbox."""
    started = time.monotonic()
    try:
        answer = visit.target.get("/version")
    except NO_ANSWER as fault:
        raise FailedError(
            f"{visit.target.url} does not answer: {describe(fault)}.",
            "See that the address is right and that the service runs (on Render: the dashboard's Events and Logs; "
            "here: `make run`).",
        ) from fault
    seconds = time.monotonic() - started
    version = json_or_none(answer)
    if answer.status != 200 or not isinstance(version, dict) or "commit" not in version:
        raise FailedError(
            f"{visit.target.url} is not Shapbox: GET /version answers {said(answer)}.",
            "See that the address is the service's own, and that a deploy of it is live.",
        )
    return f"version {version['version']}, xgboost {version['xgboost']}, {seconds * 1000:.0f} ms"


def commit(visit: Visit) -> str:
    """See that the commit runs that should."""
    runs = str(visit.target.get("/version").json()["commit"])
    expected = visit.options.expect_commit
    if not expected:
        raise NotCheckedError(
            f"commit {runs[:12]} runs; there is nothing to compare it with.", "Set EXPECT_COMMIT=SHA."
        )
    if not (runs.startswith(expected) or (len(runs) >= LEAST_DIGITS and expected.startswith(runs))):
        raise FailedError(
            f"Commit {runs[:12]} runs, and {expected[:12]} is expected.",
            "Wait for the deploy to be live, or deploy again: an older one still answers.",
            runs[:12],
        )
    return runs[:12]


def healthz(visit: Visit) -> str:
    """See that it does not ask for a restart."""
    answer = visit.target.get("/healthz")
    if answer.status == 200:
        return "no cause for a restart"
    document = json_or_none(answer)
    causes = document.get("causes", []) if isinstance(document, dict) else []
    faults = [Fault(cause["cause"], cause["detail"]) for cause in causes]
    if not faults:
        raise FailedError(f"/healthz answers {said(answer)}.", Fault("api", "").remedy)
    raise FailedError(f"It needs a restart. {'; '.join(map(str, faults))}.", faults[0].remedy)


def readyz(visit: Visit) -> str:
    """See that it can serve new work and that each probe is well, within some seconds."""
    started = time.monotonic()
    while faults := find_faults(visit.target):
        if time.monotonic() - started > visit.options.ready_seconds:
            raise FailedError(f"{'; '.join(map(str, faults))}.", faults[0].remedy)
        time.sleep(LOOK_SECONDS)
    probes = visit.target.get("/readyz").json()["probes"]
    return f"{len(probes)} probes well, {probes['workers']['detail']}"
