"""/v1/jobs: submit jobs and list them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import orjson

from services.api.components import Parts
from services.api.explain.options import OPTION_PARAMETERS
from services.api.explain.plan import Urgency
from services.api.explain.submission import Submission
from services.api.http.authentication import Access
from services.api.http.query import Query, Wait, read_wait
from shared.errors import BadParameterError, JobNotFoundError, RedisUnavailableError
from shared.jobs.document import Job, Status
from shared.jobs.ids import is_job_id
from shared.redis.connection import redis_needed

#: Jobs on one page of the list, by default and at most.
PAGE, MAX_PAGE = 20, 100


class JobsResource:
    """The collection of jobs."""

    access = Access.JOBS

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._submission = Submission(parts)

    def on_post(self, req: Any, resp: Any) -> None:
        """Accept a job: 202, or 200 if it has ended within the time that the client wants to wait."""
        query = Query(req, *OPTION_PARAMETERS, "wait")
        wait = read_wait(query, req.get_header("Prefer"))
        urgency = Urgency.JOB if wait.seconds else Urgency.LATER
        job = self._submission.submit(req, query, urgency).job
        job = wait_for_accepted(self._parts, job, wait)
        wait.acknowledge(resp)
        answer_job(resp, job, 200 if wait.seconds and job.status.ended else 202)

    def on_get(self, req: Any, resp: Any) -> None:
        """List jobs, newest first."""
        query = Query(req, "status", "limit", "cursor")
        status = _read_status(query)
        limit = query.whole("limit", PAGE, 1, MAX_PAGE)
        cursor = query.text("cursor")
        if cursor is not None and not is_job_id(cursor):
            raise BadParameterError("This cursor is none that a list of jobs gave: follow its `next`.")
        with redis_needed():
            page = self._parts.store.page(status, limit, cursor)
        following = None
        if page.cursor is not None:
            given = {"status": status.value} if status else {}
            following = "/v1/jobs?" + urlencode({**given, "limit": limit, "cursor": page.cursor})
        document = {"jobs": [job.document() for job in page.jobs], "next": following}
        resp.content_type = "application/json"
        resp.data = orjson.dumps(document)

    on_head = on_get


def answer_job(resp: Any, job: Job, status: int) -> None:
    """Answer with a job document and its address."""
    resp.status = status
    resp.set_header("Location", f"/v1/jobs/{job.id}")
    resp.content_type = "application/json"
    resp.data = orjson.dumps(job.document())


def wait_for_accepted(parts: Parts, job: Job, wait: Wait) -> Job:
    """Wait for a job that has been accepted: whatever happens now, the client must learn its id."""
    try:
        return parts.endings.wait(job, wait.seconds)
    except (RedisUnavailableError, JobNotFoundError):
        return job


def _read_status(query: Query) -> Status | None:
    text = query.text("status")
    if text is None:
        return None
    try:
        return Status(text)
    except ValueError:
        raise BadParameterError(f"status={text[:40]!r} is none of {', '.join(Status)}.") from None
