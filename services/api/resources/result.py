"""/v1/jobs/ID/result: the values."""

from __future__ import annotations

from typing import Any

from services.api.components import Parts
from services.api.http.authentication import Access
from services.api.http.query import Query, read_row_range
from services.api.results.negotiation import choose_writer
from services.api.results.result_answer import ResultAnswer, require_result
from shared.redis.connection import redis_needed


class ResultResource:
    """The result of one job."""

    access = Access.JOBS

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._answer = ResultAnswer(parts)

    def on_get(self, req: Any, resp: Any, job_id: str) -> None:
        """Answer with the values of all rows or of a page of them, and their interactions unless they are not wanted."""
        query = Query(req, "offset", "limit", "interactions")
        rows, interactions = read_row_range(query), query.flag("interactions") is not False
        choose_writer(req.get_header("Accept"))
        with redis_needed():
            job = self._parts.store.get(job_id)
        require_result(job)
        self._answer.give(req, resp, job, rows, interactions=interactions)

    on_head = on_get
