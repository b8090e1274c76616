"""Render's API, as far as a deploy needs it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ops.render.deploys import Deploy, Status, read_deploys
from ops.render.errors import KeyRefusedError, NotThereError, RenderError
from ops.render.service import Service
from ops.render.transport import Transport

#: Deploys, log lines and variables that one page may hold.
PAGE = 20
LOG_LINES = 40
MOST_VARIABLES = 100


class RenderApi:
    """Questions and orders to Render's API."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.patience = transport.patience

    def find_service(self, name_or_id: str) -> Service | None:
        """Return the service of this id or name; None if the key sees none. Raises RenderError."""
        if name_or_id.startswith("srv-"):
            try:
                return Service.read(self._transport.get(f"services/{name_or_id}"))
            except NotThereError:
                return None
        listing = self._transport.get("services", {"name": name_or_id, "limit": PAGE})
        found = [Service.read(item.get("service")) for item in listing if isinstance(item, Mapping)]
        named = [service for service in found if service.name == name_or_id]
        if len(named) > 1:
            ids = ", ".join(service.id for service in named)
            raise RenderError(
                f"There are {len(named)} services called {name_or_id} ({ids}): name one by its id."
            )
        # The listing tells less than the service itself.
        return Service.read(self._transport.get(f"services/{named[0].id}")) if named else None

    def deploys(self, service: Service, status: Status | None = None, limit: int = PAGE) -> list[Deploy]:
        """Return the newest deploys, the newest first; only those of a state if one is given."""
        wanted: dict[str, str | int] = {"limit": limit} | ({"status": status.value} if status else {})
        return read_deploys(self._transport.get(f"services/{service.id}/deploys", wanted))

    def deploy(self, service: Service, deploy_id: str) -> Deploy:
        """Return a deploy as it is now."""
        return Deploy.read(self._transport.get(f"services/{service.id}/deploys/{deploy_id}"))

    def live_deploy(self, service: Service) -> Deploy | None:
        """Return what serves now."""
        return next(iter(self.deploys(service, Status.LIVE, 1)), None)

    def order_deploy(self, service: Service, commit: str) -> Deploy | None:
        """Have a commit deployed; None if Render names no deploy for it. Raises UncertainError."""
        return self._order(f"services/{service.id}/deploys", {"commitId": commit})

    def order_rollback(self, service: Service, deploy_id: str) -> Deploy | None:
        """Make an earlier deploy live again; returns the new deploy. Raises UncertainError."""
        return self._order(f"services/{service.id}/rollback", {"deployId": deploy_id})

    def cancel(self, service: Service, deploy_id: str) -> None:
        """Have a deploy stopped. Raises UncertainError."""
        self._transport.order(f"services/{service.id}/deploys/{deploy_id}/cancel")

    def log_tail(self, service: Service, kind: str, lines: int = LOG_LINES) -> list[str]:
        """Return the last lines of the build's log (`build`) or the program's (`app`)."""
        wanted: dict[str, str | int] = {"ownerId": service.owner_id, "resource": service.id, "type": kind}
        answer = self._transport.get("logs", {**wanted, "direction": "backward", "limit": lines})
        found = answer.get("logs") if isinstance(answer, Mapping) else None
        entries = [item for item in found or [] if isinstance(item, Mapping)]
        entries.sort(key=lambda item: str(item.get("timestamp")))
        return [str(item.get("message", "")).rstrip() for item in entries][-lines:]

    def failures_since(self, service: Service, moment: datetime) -> list[str]:
        """Return Render's records of the service's failures since then, such as a lack of memory."""
        since = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        wanted: dict[str, str | int] = {"type": "server_failed", "startTime": since, "limit": PAGE}
        listing = self._transport.get(f"services/{service.id}/events", wanted)
        events = [item.get("event", item) for item in listing if isinstance(item, Mapping)]
        # Times are written the same way on both sides, so they sort as text. Render may give more than was asked for.
        return [
            _failure(event)
            for event in events
            if event.get("type") == "server_failed" and str(event.get("timestamp", since)) >= since
        ]

    def variables(self, service: Service) -> dict[str, str]:
        """Return the service's environment variables; none where this key may not read them."""
        try:
            listing = self._transport.get(f"services/{service.id}/env-vars", {"limit": MOST_VARIABLES})
        except (KeyRefusedError, NotThereError):
            return {}
        found = [item.get("envVar", item) for item in listing if isinstance(item, Mapping)]
        return {str(item["key"]): str(item.get("value") or "") for item in found if "key" in item}

    def workspaces(self) -> list[str]:
        """Return the ids of the workspaces that this key sees."""
        listing = self._transport.get("owners", {"limit": PAGE})
        found = [item.get("owner", item) for item in listing if isinstance(item, Mapping)]
        return [str(item["id"]) for item in found if "id" in item]

    def blueprint_faults(self, workspace: str, name: str, content: bytes) -> list[str]:
        """Have Render validate a blueprint; returns what it finds wrong."""
        answer = self._transport.upload("blueprints/validate", {"ownerId": workspace}, name, content)
        if not isinstance(answer, Mapping) or "valid" not in answer:
            raise RenderError("Render does not say whether the blueprint is valid. Its API has changed.")
        errors = [item for item in answer.get("errors") or [] if isinstance(item, Mapping)]
        found = [f"{item.get('path') or name}: {item.get('error')}" for item in errors]
        return found if found or answer["valid"] is True else [f"{name}: Render calls it invalid"]

    def _order(self, path: str, body: Mapping[str, object]) -> Deploy | None:
        _, answer = self._transport.order(path, body)
        return Deploy.read(answer) if isinstance(answer, Mapping) and "id" in answer else None


def _failure(event: Mapping[str, Any]) -> str:
    """Say why a service failed, as far as Render says it."""
    details = event.get("details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    reason = reason if isinstance(reason, Mapping) else {}
    if killed := reason.get("oomKilled"):
        limit = killed.get("memoryLimit", "?") if isinstance(killed, Mapping) else "?"
        why = f"killed for memory (limit {limit})"
    else:
        why = ", ".join(f"{name}: {value}" for name, value in reason.items() if value) or "no reason given"
    return f"{event.get('timestamp', 'at some time')}: {why}"
