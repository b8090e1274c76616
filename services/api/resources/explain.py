"""/v1/explain: rows in, values out, in one request."""

from __future__ import annotations

from functools import partial
from typing import Any

from services.api.components import Parts
from services.api.explain.options import OPTION_PARAMETERS
from services.api.explain.plan import Checks, Matrix, Urgency
from services.api.explain.submission import Submission
from services.api.http.authentication import Access
from services.api.http.query import Query, RowRange, read_row_range, read_wait
from services.api.resources.jobs import answer_job, wait_for_accepted
from services.api.results.negotiation import choose_writer
from services.api.results.result_answer import ResultAnswer, require_result
from shared.jobs.document import Job

#: Seconds that a request waits for its values unless it says otherwise.
DEFAULT_WAIT = 30


class ExplainResource:
    """A job whose result is the answer."""

    access = Access.JOBS

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._submission = Submission(parts)
        self._answer = ResultAnswer(parts)

    def on_post(self, req: Any, resp: Any) -> None:
        """Answer with the values; with 202 and the job document if they are not there in time."""
        query = Query(req, *OPTION_PARAMETERS, "wait", "offset", "limit")
        wait = read_wait(query, req.get_header("Prefer"), DEFAULT_WAIT)
        rows = read_row_range(query)
        writer_for = partial(choose_writer, req.get_header("Accept"))
        writer_for()  # refused before any work is done
        urgency = Urgency.VALUES if wait.seconds else Urgency.LATER
        submitted = self._submission.submit(req, query, urgency, Checks(rows.of, writer_for))
        if submitted.values is not None:
            self._give_direct(req, resp, submitted.job, submitted.values, rows)
            wait.acknowledge(resp)
            return
        job = wait_for_accepted(self._parts, submitted.job, wait)
        wait.acknowledge(resp)
        if not job.status.ended:
            answer_job(resp, job, 202)
            return
        require_result(job)
        self._answer.give(req, resp, job, rows)
        resp.set_header("Content-Location", f"/v1/jobs/{job.id}/result")

    def _give_direct(self, req: Any, resp: Any, job: Job, values: Matrix, rows: RowRange) -> None:
        self._answer.give_direct(req, resp, job, values, rows)
        if job.id:
            resp.set_header("Content-Location", f"/v1/jobs/{job.id}/result")
