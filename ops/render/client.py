"""Render's API, as far as a deploy needs it: services, deploys, logs, events, blueprints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from ops.render.calls import Calls, RenderError

#: Items that one page may hold, and lines of a log that are shown.
PAGE, LOG_LINES = 20, 40
#: The meaning of each state of a deploy, for people. Another state is unknown to us, and does not end a deploy.
MEANING = {
    "created": "is about to begin",
    "queued": "waits for another deploy to end",
    "build_in_progress": "is being built",
    "pre_deploy_in_progress": "runs its pre-deploy command",
    "update_in_progress": "is starting; Render waits for /healthz",
    "live": "is live",
    "deactivated": "was live, and another one has taken its place",
    "build_failed": "could not be built",
    "pre_deploy_failed": "failed in its pre-deploy command",
    "update_failed": "was built, and did not become healthy",
    "canceled": "was canceled",
}
#: States that wait for something else to end.
WAITING = frozenset({"created", "queued"})
#: States in which a deploy has failed: whose log says why (the build's or the program's), and the remedy.
FAILED = {
    "build_failed": ("build", "Correct what the log says; make image builds the same image here."),
    "pre_deploy_failed": ("app", "The blueprint has no such command: remove it from the service's settings."),
    "update_failed": ("app", "The log above says what boot refuses. make up runs the same image here."),
}
#: States that a deploy does not leave by itself.
FINAL = frozenset({"live", "deactivated", "canceled", *FAILED})


def _record(document: Any, what: str) -> Mapping[str, Any]:
    """Return a record of Render's; raises RenderError if it is something else."""
    if not isinstance(document, Mapping) or not isinstance(document.get("id"), str):
        raise RenderError(f"Render's answer holds no {what}. Its API has changed: look into the dashboard.")
    return document


@dataclass(frozen=True, slots=True)
class Deploy:
    """One deploy, as it was told last."""

    id: str
    status: str
    commit: str

    @classmethod
    def read(cls, document: object) -> Self:
        """Read a deploy's record; raises RenderError if it is something else."""
        found = _record(document, "deploy")
        commit = (found.get("commit") or {}).get("id") or ""
        return cls(found["id"], str(found.get("status") or "unknown"), str(commit))

    @property
    def meaning(self) -> str:
        """Say how far it is."""
        return MEANING.get(self.status, f"is {self.status}, a state that this version does not know")

    def __str__(self) -> str:
        return f"{self.id} ({self.commit[:7] or 'unknown commit'})"


class Render(Calls):
    """Render's API. Each method raises RenderError."""

    def find_service(self, name_or_id: str) -> Service | None:
        """Return the service of this id or name; None if the key sees none."""
        ids = [name_or_id]
        if not name_or_id.startswith("srv-"):
            listed = [_record(one, "service") for one in self.page("services", "service", name=name_or_id)]
            ids = [one["id"] for one in listed if one.get("name") == name_or_id]
        if len(ids) > 1:
            raise RenderError(f"Several services are called {name_or_id}: give the id, {' or '.join(ids)}.")
        try:  # the listing tells less than the service itself
            return Service(self, self.ask("GET", f"services/{ids[0]}")) if ids else None
        except RenderError as fault:
            if fault.status == 404:
                return None
            raise

    def workspaces(self) -> list[str]:
        """Return the ids of the workspaces that this key sees."""
        return [str(item["id"]) for item in self.page("owners", "owner") if "id" in item]

    def blueprint_faults(self, workspace: str, name: str, content: bytes) -> list[str]:
        """Have Render validate a blueprint; returns what it finds wrong."""
        what = {"data": {"ownerId": workspace}, "files": {"file": (name, content)}}
        answer = self.ask("POST", "blueprints/validate", **what)
        if not isinstance(answer, Mapping) or "valid" not in answer:
            raise RenderError("Render does not say whether the blueprint is valid. Its API has changed.")
        found = [f"{one.get('path') or name}: {one.get('error')}" for one in answer.get("errors") or []]
        return found if found or answer["valid"] is True else [f"{name}: Render calls it invalid"]

    def page(self, path: str, kind: str, **parameters: str | int) -> list[Mapping[str, Any]]:
        """Return the records of one page, each out of its `kind` field."""
        listing = self.ask("GET", path, params={"limit": PAGE, **parameters})
        if not isinstance(listing, list):
            raise RenderError(f"Render's answer is no list of {kind}s. Its API has changed.")
        return [item.get(kind, item) for item in listing if isinstance(item, Mapping)]


class Service:
    """A service. `url` has no slash at its end, and is empty without a public address.

    Each method raises RenderError.
    """

    def __init__(self, render: Render, document: object) -> None:
        found = _record(document, "service")
        self.render, self._path = render, f"services/{found['id']}"
        self._log = {"ownerId": found.get("ownerId") or "", "resource": found["id"]}
        self.owner_id, self.suspended = self._log["ownerId"], found.get("suspended") == "suspended"
        self.name = f"{found.get('name')} ({found['id']})"
        self.url = str((found.get("serviceDetails") or {}).get("url") or "").rstrip("/")
        self.dashboard_url = str(found.get("dashboardUrl") or self.name)

    def deploys(self, **wanted: str | int) -> list[Deploy]:
        """Return the newest deploys, the newest first; `status` selects those of a state."""
        return [Deploy.read(one) for one in self.render.page(f"{self._path}/deploys", "deploy", **wanted)]

    def deploy(self, deploy_id: str) -> Deploy:
        """Return a deploy as it is now."""
        return Deploy.read(self.render.ask("GET", f"{self._path}/deploys/{deploy_id}"))

    def live_deploy(self) -> Deploy | None:
        """Return the deploy that serves now."""
        return next(iter(self.deploys(status="live", limit=1)), None)

    def order(self, what: str, **body: str) -> Deploy | None:
        """Order `deploys` of a commitId or `rollback` to a deployId; None if none is named."""
        answer = self.render.order(f"{self._path}/{what}", body)
        return Deploy.read(answer) if isinstance(answer, Mapping) and "id" in answer else None

    def log_tail(self, kind: str) -> list[str]:
        """Return the last lines of the build's log (`build`) or the program's (`app`)."""
        wanted = {**self._log, "type": kind, "direction": "backward", "limit": LOG_LINES}
        entries = self.render.ask("GET", "logs", params=wanted).get("logs") or []
        entries.sort(key=lambda entry: str(entry.get("timestamp")))
        return [str(entry.get("message", "")).rstrip() for entry in entries]

    def failures_since(self, moment: datetime) -> list[str]:
        """Return Render's records of its failures since then, such as a lack of memory."""
        since, kind = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "server_failed"
        events = self.render.page(f"{self._path}/events", "event", type=kind, startTime=since)
        # Times are written the same way on both sides, so they sort as text. Render may give more than was asked for.
        recent = [
            one for one in events if one.get("type") == kind and str(one.get("timestamp", since)) >= since
        ]
        return [f"{one.get('timestamp')}: {(one.get('details') or {}).get('reason')}" for one in recent]

    def variables(self) -> dict[str, str]:
        """Return its environment variables; none where this key may not read them."""
        try:
            found = self.render.page(f"{self._path}/env-vars", "envVar", limit=100)
        except RenderError as fault:
            if fault.status in {401, 403, 404}:
                return {}
            raise
        return {str(item["key"]): str(item.get("value") or "") for item in found if "key" in item}
