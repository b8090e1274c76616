"""TLS: the way there, and the certificate."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from ops.http_call import call
from ops.verify.outcome import NO_ANSWER, FailedError, NotCheckedError
from ops.verify.visit import Visit

#: Days for which a certificate must be good: it is renewed long before.
LEAST_DAYS = 14.0
#: Seconds that a handshake may take.
SECONDS = 10.0
DAY = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """The result of the handshake."""

    protocol: str
    days: float


def tls(visit: Visit) -> str:
    """Check that the certificate is trusted and good for some time; report plain HTTP."""
    parts = urlsplit(visit.target.url)
    if parts.scheme != "https":
        raise NotCheckedError(
            "not checked: the address begins with http://.", "On other machines than this use https://."
        )
    host = parts.hostname or ""
    found = handshake(host, parts.port or 443)
    measured = f"{found.protocol}, certificate good for {found.days:.0f} days"
    if found.days < LEAST_DAYS:
        raise FailedError(
            f"The certificate expires in {found.days:.1f} days.",
            "Its authority renews it by itself, usually a month before: see why that has failed (on Render: the "
            "dashboard's Custom Domains).",
            measured,
        )
    strict = visit.target.get("/version").headers.get("strict-transport-security")
    plain = _plain(host) if parts.port is None else None
    return ", ".join(filter(None, [measured, "HSTS" if strict else "no HSTS", plain]))


def handshake(host: str, port: int) -> Certificate:
    """Connect and look at the certificate. Raises OSError, also for one that is not trusted."""
    context = ssl.create_default_context()
    with (
        socket.create_connection((host, port), SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=host) as secured,
    ):
        certificate = secured.getpeercert() or {}
        until = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        return Certificate(secured.version() or "TLS", (until - time.time()) / DAY)


def _plain(host: str) -> str | None:
    """Say what becomes of plain HTTP: it is the edge's doing, and no fault of the appliance's."""
    try:
        answer = call(f"http://{host}/healthz", seconds=SECONDS)
    except NO_ANSWER:
        return "http:// is closed"
    redirected = answer.headers.get("location", "").startswith("https://")
    return "http:// leads to https://" if redirected else f"http:// answers {answer.status}"
