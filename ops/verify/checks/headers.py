"""The headers of answers."""

from __future__ import annotations

import secrets

from ops.verify.outcome import FailedError
from ops.verify.visit import Visit

#: Headers that the documentation's page must have.
OF_THE_PAGE = {
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def headers(visit: Visit) -> str:
    """Check that a request's id comes back, and that the docs page loads from its host only."""
    sent = f"verify-{secrets.token_hex(6)}"
    came = visit.target.get("/version", headers={"X-Request-Id": sent}).headers.get("x-request-id")
    page = visit.target.get("/docs").headers
    wrong = [] if came == sent else [f"X-Request-Id does not come back ({came or 'none'})"]
    wrong += [
        f"/docs has no {name} with {word}"
        for name, word in OF_THE_PAGE.items()
        if word not in page.get(name, "")
    ]
    if wrong:
        raise FailedError(
            f"{'; '.join(wrong)}.",
            "The appliance sets them: see what stands between it and here and takes them away.",
        )
    return f"X-Request-Id echoed, {len(OF_THE_PAGE)} headers of /docs"
