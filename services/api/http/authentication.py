"""Bearer keys, the rights that they have, and the right that each resource requires."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.errors import ForbiddenError, UnauthorizedError
from shared.settings import Settings


class Access(StrEnum):
    """The right that a resource requires, in its class attribute `access`."""

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
    """The keys as bytes, each with its rights. A key that is unset has none."""

    keys: tuple[tuple[bytes, frozenset[Access]], ...]

    @classmethod
    def of(cls, settings: Settings) -> KeyRing:
        """Take the keys from the settings."""
        rights = (
            (settings.api_key, frozenset({Access.JOBS})),
            (settings.admin_api_key, frozenset({Access.JOBS, Access.METRICS, Access.ADMIN})),
            (settings.metrics_token, frozenset({Access.METRICS})),
        )
        return cls(tuple((key.encode(), has) for key, has in rights if key))

    def require(self, access: Access, authorization: str | None, path: str) -> None:
        """Raise UnauthorizedError or ForbiddenError unless the Authorization header has this right."""
        if access is Access.OPEN:
            return
        scheme, _, token = (authorization or "").strip().partition(" ")
        if not scheme:
            raise UnauthorizedError("The request has no key. Send the header `Authorization: Bearer KEY`.")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthorizedError(
                "The Authorization header has no bearer key. Send `Authorization: Bearer KEY`."
            )
        # Header values come as latin-1. All keys are compared, so that the time reveals nothing.
        given = token.strip().encode("latin-1", "replace")
        matches = [rights for key, rights in self.keys if hmac.compare_digest(key, given)]
        if not matches:
            raise UnauthorizedError("This key is not valid here. Send the API_KEY of this appliance.")
        if access not in matches[0]:
            raise ForbiddenError(f"This key does not open {path}, which requires {_KEYS_FOR[access]}.")


class Authentication:
    """Falcon middleware that requires the right of the resource."""

    def __init__(self, settings: Settings) -> None:
        self._ring = KeyRing.of(settings)

    def process_resource(self, req: Any, _resp: Any, resource: Any, _params: dict[str, Any]) -> None:
        """Let the request pass, or raise UnauthorizedError or ForbiddenError."""
        # A resource without `access` is a mistake, and stays closed: AttributeError.
        self._ring.require(resource.access, req.get_header("Authorization"), req.path)
