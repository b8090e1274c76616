"""/v1/workers: who is at work, and an admin's wish for a fresh one."""

from __future__ import annotations

from typing import Any

import orjson

from services.api.components import Parts
from services.api.http.authentication import Access
from services.api.http.query import Query
from shared.appliance.recycle_requests import RecycleRequests
from shared.errors import ShapboxError
from shared.jobs.document import rfc3339
from shared.redis.connection import redis_needed


class NoWorkerError(ShapboxError):
    """No worker lives, so none can be recycled."""

    status = 503
    slug = "no-worker"
    title = "There is no worker"
    retry_after = 5


class WorkersResource:
    """All living workers."""

    access = Access.ADMIN

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def on_get(self, req: Any, resp: Any) -> None:
        """List the workers that say that they live. A restarted one has another pid."""
        Query(req)
        with redis_needed():
            heartbeats = self._parts.heartbeats.alive()
        workers = [{"name": b.name, "pid": b.pid, "state": b.state} for b in heartbeats.values()]
        resp.content_type = "application/json"
        resp.data = orjson.dumps({"workers": workers})

    on_head = on_get


class RecycleResource:
    """A worker that ends after its batch, so that a fresh one takes its place."""

    access = Access.ADMIN

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._wish = RecycleRequests(parts.connection)

    def on_post(self, req: Any, resp: Any) -> None:
        """Lay the wish down for a monitor, or share the one that is pending."""
        Query(req)
        self._parts.require_intake()
        with redis_needed():
            if not self._parts.heartbeats.alive():
                raise NoWorkerError(
                    "No worker lives, so none can be recycled. /readyz and /healthz say more."
                )
            asked = self._wish.ask()
        resp.status = 202
        resp.content_type = "application/json"
        resp.data = orjson.dumps({"asked": rfc3339(asked)})
