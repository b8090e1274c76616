"""Bearer keys, the rights that they have, and the right that each resource requires."""

from __future__ import annotations

import hmac
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


class KeyRing:
    """The keys, each with its rights. A key that is unset has none."""

    def __init__(self, settings: Settings) -> None:
        rights = (
            (settings.api_key, {Access.JOBS}),
            (settings.admin_api_key, {Access.JOBS, Access.METRICS, Access.ADMIN}),
            (settings.metrics_token, {Access.METRICS}),
        )
        self._rights = [(key.encode(), has) for key, has in rights if key]

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
        matches = [rights for key, rights in self._rights if hmac.compare_digest(key, given)]
        if not matches:
            raise UnauthorizedError("This key is not valid here. Send the API_KEY of this appliance.")
        if access not in matches[0]:
            raise ForbiddenError(f"This key does not open {path}, which requires {_KEYS_FOR[access]}.")

    def process_resource(self, req: Any, _resp: Any, resource: Any, _params: dict[str, Any]) -> None:
        """Require the right of the resource, as falcon's middleware."""
        # A resource without `access` is a mistake, and stays closed: AttributeError.
        self.require(resource.access, req.get_header("Authorization"), req.path)
