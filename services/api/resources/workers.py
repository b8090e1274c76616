"""/v1/workers: the live workers, and an admin's request to replace one."""

from __future__ import annotations

from typing import Any

from services.api.http.admission import Draining
from services.api.http.authentication import Access
from services.api.http.query import Query
from shared.appliance.heartbeats import Heartbeats
from shared.appliance.recycle_requests import RecycleRequests
from shared.errors import ShapboxError
from shared.jobs.document import rfc3339
from shared.redis.connection import redis_needed


class NoWorkerError(ShapboxError, status=503, title="No worker is alive", retry_after=5):
    """No worker is alive, so none can be recycled."""


class WorkersResource:
    """All live workers."""

    access = Access.ADMIN

    def __init__(self, heartbeats: Heartbeats) -> None:
        self._heartbeats = heartbeats

    def on_get(self, req: Any, resp: Any) -> None:
        """List the workers with a heartbeat. A restarted one has another pid."""
        Query(req)
        with redis_needed():
            alive = self._heartbeats.alive().values()
        workers = [{"name": one.name, "pid": one.pid, "state": one.state} for one in alive]
        resp.media = {"workers": workers}

    on_head = on_get


class RecycleResource:
    """A worker that ends after its batch, so that a fresh one replaces it."""

    access = Access.ADMIN

    def __init__(self, heartbeats: Heartbeats, requests: RecycleRequests, draining: Draining) -> None:
        self._heartbeats = heartbeats
        self._requests = requests
        self._draining = draining

    def on_post(self, req: Any, resp: Any) -> None:
        """Leave a recycle request for a monitor, or join the one that is pending."""
        Query(req)
        self._draining.require_open()
        with redis_needed():
            if not self._heartbeats.alive():
                raise NoWorkerError("No worker is alive, so none can be recycled. See /readyz and /healthz.")
            asked = self._requests.ask()
        resp.status = 202
        resp.media = {"asked": rfc3339(asked)}
