"""/v1/jobs/ID/summary: what each feature's SHAP values come to over all rows of a job."""

from __future__ import annotations

import threading
from typing import Any

import orjson

from services.api.components import Parts
from services.api.http.authentication import Access
from services.api.http.query import Query
from services.api.results.completed_job import completed_job
from services.api.results.names import JobNames
from services.api.results.summary_document import summary_document


class SummaryResource:
    """The summary of one job."""

    access = Access.JOBS

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        #: One is written at a time: that of a wide model takes 20 MB meanwhile.
        self._one = threading.Lock()

    def on_get(self, req: Any, resp: Any, job_id: str) -> None:
        """Answer with the summary."""
        Query(req)
        with completed_job(self._parts, job_id) as job, self._parts.plots:
            digest, names = self._parts.digests.of(job), JobNames.of(job, self._parts.catalog)
            with self._one:
                resp.data = orjson.dumps(summary_document(job, digest, names))
        resp.content_type = "application/json"

    on_head = on_get
