"""Who may do what: keys as bearer tokens, and a right that each resource asks for."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.errors import ForbiddenError, UnauthorizedError
from shared.settings import Settings

#: The challenge that goes with every 401 (RFC 6750).
CHALLENGE = 'Bearer realm="shapbox"'


class Access(StrEnum):
    """The right that a resource asks for in its class attribute `access`."""

    OPEN = "open"
    JOBS = "jobs"
    METRICS = "metrics"
    ADMIN = "admin"


_KEYS_FOR = {
    Access.JOBS: "the API_KEY or the ADMIN_API_KEY",
    Access.METRICS: "the METRICS_TOKEN or the ADMIN_API_KEY",
    Access.ADMIN: "the ADMIN_API_KEY",
}


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys as bytes, each with the rights it opens. A key that is unset opens nothing."""

    keys: tuple[tuple[bytes, frozenset[Access]], ...]

    @classmethod
    def of(cls, settings: Settings) -> KeyRing:
        """Take the keys from the settings."""
        rights = (
            (settings.api_key, frozenset({Access.JOBS})),
            (settings.admin_api_key, frozenset({Access.JOBS, Access.METRICS, Access.ADMIN})),
            (settings.metrics_token, frozenset({Access.METRICS})),
        )
        return cls(tuple((key.encode(), opens) for key, opens in rights if key))

    def rights(self, authorization: str | None) -> frozenset[Access]:
        """Return what the value of an Authorization header opens. Raises UnauthorizedError."""
        scheme, _, token = (authorization or "").strip().partition(" ")
        if not scheme:
            raise UnauthorizedError("There is no key: send the header `Authorization: Bearer KEY`.")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthorizedError(
                "The Authorization header holds no bearer key: send `Authorization: Bearer KEY`."
            )
        # Header values come as latin-1. All keys are compared, so that the time tells nothing.
        given = token.strip().encode("latin-1", "replace")
        matches = [opens for key, opens in self.keys if hmac.compare_digest(key, given)]
        if not matches:
            raise UnauthorizedError("This key is not known here: send the API_KEY of this appliance.")
        return matches[0]


class Authentication:
    """Falcon middleware: asks for the right of the resource that was routed to."""

    def __init__(self, settings: Settings) -> None:
        self._ring = KeyRing.of(settings)

    def process_resource(self, req: Any, _resp: Any, resource: Any, _params: dict[str, Any]) -> None:
        """Let the request pass, or raise UnauthorizedError or ForbiddenError."""
        access: Access = resource.access  # a resource without one is a fault, and stays closed
        if access is Access.OPEN:
            return
        if access not in self._ring.rights(req.get_header("Authorization")):
            raise ForbiddenError(f"This key does not open {req.path}: it takes {_KEYS_FOR[access]}.")
