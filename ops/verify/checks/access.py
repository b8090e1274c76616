"""The appliance itself: identity, health, TLS and access.

It is there, the right one, well, reached over TLS, and open to its keys only.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from urllib.parse import urlsplit

from ops.verify.appliance import LOG, Fault, json_or_none, said
from ops.verify.report import FailedError, NotCheckedError
from ops.verify.visit import Visit
from shapbox import NoAnswerError

#: Digits of a commit that must agree at least.
LEAST_DIGITS = 7
#: Seconds between two looks at /readyz.
LOOK_SECONDS = 0.5
#: Days for which a certificate must be good: it is renewed long before. Seconds that a handshake may take.
LEAST_DAYS, HANDSHAKE_SECONDS = 14.0, 10.0
#: Headers that the documentation's page must have.
OF_THE_PAGE = {
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
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
    """See that something answers there, and that it is Shapbox."""
    started = time.monotonic()
    url = visit.appliance.url
    try:
        answer = visit.appliance.get("/version")
    except NoAnswerError as fault:
        raise FailedError(
            f"{fault}.",
            "See that the address is right and that the service runs (on Render: the dashboard's Events and Logs; "
            "here: `make run`).",
        ) from fault
    seconds = time.monotonic() - started
    version = json_or_none(answer)
    if answer.status != 200 or not isinstance(version, dict) or "commit" not in version:
        remedy = "See that the address is the service's own, and that a deploy of it is live."
        raise FailedError(f"{url} is not Shapbox: GET /version answers {said(answer)}.", remedy)
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


def tls(visit: Visit) -> str:
    """Check that the certificate is trusted and good for some time."""
    parts = urlsplit(visit.appliance.url)
    if parts.scheme != "https":
        remedy = "On other machines than this use https://."
        raise NotCheckedError("not checked: the address begins with http://.", remedy)
    host = parts.hostname or ""
    protocol, days = _handshake(host, parts.port or 443)
    measured = f"{protocol}, certificate good for {days:.0f} days"
    if days < LEAST_DAYS:
        raise FailedError(
            f"The certificate expires in {days:.1f} days.",
            "Its authority renews it by itself, usually a month before: see why that has failed (on Render: the "
            "dashboard's Custom Domains).",
            measured,
        )
    return measured


def _handshake(host: str, port: int) -> tuple[str, float]:
    """Return the protocol and the days for which the certificate is good.

    Raises OSError if it is not trusted.
    """
    context = ssl.create_default_context()
    with (
        socket.create_connection((host, port), HANDSHAKE_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=host) as secured,
    ):
        certificate = secured.getpeercert() or {}
        until = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        return secured.version() or "TLS", (until - time.time()) / (24 * 3600.0)


def headers(visit: Visit) -> str:
    """Check that a request's id comes back, and that the docs page loads from its host only."""
    sent = f"verify-{secrets.token_hex(6)}"
    came = visit.appliance.get("/version", headers={"X-Request-Id": sent}).headers.get("x-request-id")
    page = visit.appliance.get("/docs").headers
    wrong = [] if came == sent else [f"X-Request-Id does not come back ({came or 'none'})"]
    lacking = {name: word for name, word in OF_THE_PAGE.items() if word not in page.get(name, "")}
    wrong += [f"/docs has no {name} with {word}" for name, word in lacking.items()]
    if wrong:
        remedy = "The appliance sets them: see what stands between it and here and takes them away."
        raise FailedError(f"{'; '.join(wrong)}.", remedy)
    return f"X-Request-Id echoed, {len(OF_THE_PAGE)} headers of /docs"


def healthz(visit: Visit) -> str:
    """See that it does not ask for a restart."""
    answer = visit.appliance.get("/healthz")
    if answer.status == 200:
        return "no cause for a restart"
    causes = (json_or_none(answer) or {}).get("causes", [])
    faults = [Fault(cause["cause"], cause["detail"]) for cause in causes]
    told = faults or [Fault("api", f"/healthz answers {said(answer)}")]
    raise FailedError(f"It needs a restart. {'; '.join(map(str, told))}.", told[0].remedy)


def readyz(visit: Visit) -> str:
    """See that it can serve new work and that each probe is well, within some seconds."""
    deadline = time.monotonic() + visit.options.ready_seconds
    while faults := visit.appliance.find_faults():
        if time.monotonic() > deadline:
            raise FailedError(f"{'; '.join(map(str, faults))}.", faults[0].remedy)
        time.sleep(LOOK_SECONDS)
    probes = visit.appliance.get("/readyz").json()["probes"]
    return f"{len(probes)} probes well, {probes['workers']['detail']}"


def closed(visit: Visit) -> str:
    """See that nothing opens without a key, nor with a wrong one."""
    wrong = {"Authorization": f"Bearer wrong-{secrets.token_hex(16)}"}
    for path in CLOSED:
        for how, sent in (("without a key", {}), ("with a wrong key", wrong)):
            status = visit.appliance.get(path, headers=sent).status
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
