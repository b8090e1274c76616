"""Bearer keys, the rights that they have, and the right that each resource requires."""

from __future__ import annotations

import hmac
from enum import StrEnum
from typing import Any

from services.api.http.access_log import KEY_NAME
from shared.errors import ForbiddenError, UnauthorizedError
from shared.settings import KEY_NAMES, Settings


class Access(StrEnum):
    """The right that a resource requires, in its class attribute `access`."""

    OPEN = "open"
    JOBS = "jobs"
    METRICS = "metrics"
    ADMIN = "admin"


_RIGHTS = {
    "API_KEY": {Access.JOBS},
    "ADMIN_API_KEY": {Access.JOBS, Access.METRICS, Access.ADMIN},
    "METRICS_TOKEN": {Access.METRICS},
}
_KEYS_FOR = {
    Access.JOBS: "the API_KEY or the ADMIN_API_KEY",
    Access.METRICS: "the METRICS_TOKEN or the ADMIN_API_KEY",
    Access.ADMIN: "the ADMIN_API_KEY",
}


class KeyRing:
    """The keys, each with its rights. A key that is unset has none."""

    def __init__(self, settings: Settings) -> None:
        given = {name: getattr(settings, name.lower()) for name in KEY_NAMES}
        self._keys = {name: key.encode() for name, key in given.items() if key}

    def name_of(self, authorization: str | None) -> str | None:
        """Return the name of the key in an Authorization header; None without a valid one."""
        scheme, _, token = (authorization or "").strip().partition(" ")
        # Header values come as latin-1. All keys are compared, so that the time reveals nothing.
        given = token.strip().encode("latin-1", "replace")
        matches = [name for name, key in self._keys.items() if hmac.compare_digest(key, given)]
        return matches[0] if matches and scheme.lower() == "bearer" else None

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
        name = self.name_of(authorization)
        if name is None:
            raise UnauthorizedError("This key is not valid here. Send the API_KEY of this appliance.")
        if access not in _RIGHTS[name]:
            raise ForbiddenError(f"This key does not open {path}, which requires {_KEYS_FOR[access]}.")

    def process_request(self, req: Any, _resp: Any) -> None:
        """Note the key's name for the access log, also for a request that is refused later."""
        if given := req.get_header("Authorization"):
            req.env[KEY_NAME] = self.name_of(given) or "invalid"

    def process_resource(self, req: Any, _resp: Any, resource: Any, _params: dict[str, Any]) -> None:
        """Require the right of the resource, as falcon's middleware."""
        # A resource without `access` is a mistake, and stays closed: AttributeError.
        self.require(resource.access, req.get_header("Authorization"), req.path)
