"""/v1/jobs/ID: look at a job, wait for it, cancel or delete it."""

from __future__ import annotations

from typing import Any

import orjson

from services.api.components import Parts
from services.api.http.authentication import Access
from services.api.http.query import Query, read_wait
from shared.redis.connection import redis_needed


class JobResource:
    """One job."""

    access = Access.JOBS

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def on_get(self, req: Any, resp: Any, job_id: str) -> None:
        """Answer with the job document, as soon as the job has ended if the client waits for that."""
        wait = read_wait(Query(req, "wait"), req.get_header("Prefer"))
        with redis_needed():
            job = self._parts.store.get(job_id)
        job = self._parts.endings.wait(job, wait.seconds)
        wait.acknowledge(resp)
        resp.content_type = "application/json"
        resp.data = orjson.dumps(job.document())

    on_head = on_get

    def on_delete(self, req: Any, resp: Any, job_id: str) -> None:
        """Cancel a job that is active: its rows and results go, its document stays until its time is up.

        Of a job that has ended, all goes.
        """
        Query(req)
        store = self._parts.store
        with redis_needed():
            store.get(job_id)
            if not store.cancel(job_id):
                # First: on a full disk, the room of the objects is what lets Redis forget the job.
                self._parts.payloads.delete_job(job_id)
                store.transitions.forget(job_id)
        self._parts.payloads.delete_job(job_id)
        resp.status = 204
