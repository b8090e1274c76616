"""/v1/workers: the live workers, and an admin's request to replace one."""

from __future__ import annotations

from typing import Any

from services.api.http.authentication import Access
from services.api.http.query import Query
from services.api.resources.resource import Resource
from shared.appliance.recycle_requests import RecycleRequests
from shared.errors import ShapboxError
from shared.jobs.document import rfc3339


class NoWorkerError(ShapboxError, status=503, title="No worker is alive", retry_after=5):
    """No worker is alive, so none can be recycled."""


class WorkersResource(Resource, access=Access.ADMIN):
    """All live workers."""

    def on_get(self, req: Any, resp: Any) -> None:
        """List the workers with a heartbeat. A restarted one has another pid."""
        Query(req)
        alive = self._components.heartbeats.alive().values()
        resp.media = {"workers": [{"name": one.name, "pid": one.pid, "state": one.state} for one in alive]}


class RecycleResource(Resource, access=Access.ADMIN):
    """A worker that ends after its batch, so that a fresh one replaces it."""

    def on_post(self, req: Any, resp: Any) -> None:
        """Leave a recycle request for a monitor, or join the one that is pending."""
        Query(req)
        self._components.draining.require_open()
        if not self._components.heartbeats.alive():
            raise NoWorkerError("No worker is alive, so none can be recycled. See /readyz and /healthz.")
        asked = RecycleRequests(self._components.connection).ask()
        resp.status = 202
        resp.media = {"asked": rfc3339(asked)}
