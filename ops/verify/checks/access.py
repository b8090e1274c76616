"""The appliance itself: it is there, the right one, well, and open to its keys only."""

from __future__ import annotations

import secrets
import time

from ops.verify.appliance import LOG, json_of, said
from ops.verify.report import FailedError, NotCheckedError
from ops.verify.visit import Visit
from shapbox import NoAnswerError
from shared.errors import StartingError

#: Digits of a commit that must agree at least.
LEAST_DIGITS = 7
#: Paths that nobody may read without a key.
CLOSED = ("/v1/models", "/v1/jobs", "/metrics", "/v1/workers")
#: Paths that each key opens, and paths that it must not open.
OPENS = {
    "API_KEY": ("/v1/models", ("/metrics", "/v1/workers")),
    "ADMIN_API_KEY": ("/v1/workers", ()),
    "METRICS_TOKEN": ("/metrics", ("/v1/models", "/v1/workers")),
}
#: Where a right is missing: the deploy is not to be trusted with any key.
_OPEN_REMEDY = "Take it off the net: roll back, and see what stands between the service and its clients."


def reachable(visit: Visit) -> str:
    """See that something answers there, by a trusted certificate, and that it is Shapbox."""
    started = time.monotonic()
    try:
        answer = visit.appliance.get("/version")
    except NoAnswerError as fault:
        remedy = (
            "See that the address is right and that the service runs (on Render: the dashboard's Events and Logs; "
            "here: `make run`)."
        )
        raise FailedError(f"{fault}.", remedy) from fault
    seconds, version = time.monotonic() - started, json_of(answer)
    if version.get("type") == f"/problems/{StartingError.slug}":
        raise FailedError(
            f"{visit.appliance.url} is starting: {said(answer)}.", "Verify it when it is ready."
        )
    if answer.status != 200 or "commit" not in version:
        remedy = "See that the address is the service's own, and that a deploy of it is live."
        detail = f"{visit.appliance.url} is not Shapbox: GET /version answers {said(answer)}."
        raise FailedError(detail, remedy)
    return f"version {version['version']}, xgboost {version['xgboost']}, {seconds * 1000:.0f} ms"


def commit(visit: Visit) -> str:
    """See that the commit runs that should."""
    runs = str(visit.appliance.get("/version").json()["commit"])
    expected = visit.options.expect_commit
    if not expected:
        detail = f"commit {runs[:12]} runs; there is nothing to compare it with."
        raise NotCheckedError(detail, "Set EXPECT_COMMIT=SHA.")
    if not (runs.startswith(expected) or (len(runs) >= LEAST_DIGITS and expected.startswith(runs))):
        raise FailedError(
            f"Commit {runs[:12]} runs, and {expected[:12]} is expected.",
            "Wait for the deploy to be live, or deploy again: an older one still answers.",
            runs[:12],
        )
    return runs[:12]


def readyz(visit: Visit) -> str:
    """See that it can serve new work and that each probe is well, within some seconds."""
    if faults := visit.until_none(visit.appliance.find_faults):
        raise FailedError(f"{'; '.join(map(str, faults))}.", faults[0].remedy)
    probes = visit.appliance.get("/readyz").json()["probes"]
    return f"{len(probes)} probes well, {probes['workers']['detail']}"


def closed(visit: Visit) -> str:
    """See that nothing opens without a key, nor with a wrong one."""
    wrong = {"Authorization": f"Bearer wrong-{secrets.token_hex(16)}"}
    for path in CLOSED:
        for how, sent in (("without a key", {}), ("with a wrong key", wrong)):
            status = visit.appliance.call("GET", path, headers=sent).status
            if status != 401:
                raise FailedError(f"GET {path} {how} answers {status}, and must answer 401.", _OPEN_REMEDY)
    return f"401 for {len(CLOSED)} addresses, without a key and with a wrong one"


def key(name: str, visit: Visit) -> str:
    """See that a key opens what it is for, and nothing else."""
    if name not in visit.options.keys:
        raise NotCheckedError("not checked: it is not given.", f"Set {name}.")
    opens, others = OPENS[name]
    answer = visit.appliance.get(opens, name)
    if answer.status in {401, 403}:
        kind = "is refused" if answer.status == 401 else "is another key's value"
        raise FailedError(
            f"{name} {kind} ({said(answer)}).",
            f"Set {name} to the service's own value: on Render it stands under Environment, of an appliance here in "
            f"DATA_DIR/keys/{name}.",
        )
    if answer.status != 200:
        raise FailedError(f"GET {opens} with {name} answers {said(answer)}.", LOG)
    for path in others:
        status = visit.appliance.get(path, name).status
        if status != 403:
            raise FailedError(f"{name} on GET {path} answers {status}, and must answer 403.", _OPEN_REMEDY)
    return f"opens {opens}" + (f", not {' nor '.join(others)}" if others else "")
