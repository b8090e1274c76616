"""/v1/explain: rows in, values out, in one request."""

from __future__ import annotations

from typing import Any

from services.api.explain.plan import Inline
from services.api.explain.submission import OPTION_PARAMETERS
from services.api.http.authentication import Access
from services.api.http.query import Query, read_row_range, read_wait
from services.api.resources.jobs import give_job
from services.api.resources.resource import Resource
from services.api.results.result import Result
from services.api.results.writer import Writer
from services.api.rows.readers import choose_reader

#: Seconds that a request waits for its values unless it says otherwise.
DEFAULT_WAIT = 30


class ExplainResource(Resource, access=Access.JOBS):
    """A job whose result is the response."""

    check_content_type = staticmethod(choose_reader)

    def on_post(self, req: Any, resp: Any) -> None:
        """Answer with the values; with 202 and the job document if they are not there in time."""
        query = Query(req, *OPTION_PARAMETERS, "wait", "offset", "limit", "csv_safe")
        wait = read_wait(query, req.get_header("Prefer"), DEFAULT_WAIT)
        safe = query.flag("csv_safe") is not False
        writer = Writer.negotiate(req, read_row_range(query), csv_safe=safe)
        outcome = self._components.submission.submit(req, query, waits=wait.seconds > 0, writer=writer)
        wait.acknowledge(resp)
        if isinstance(outcome, Inline):
            self._give_inline(resp, writer, outcome)
            job = outcome.job
        else:
            waited = self._components.job_waits.wait_for_accepted(outcome, wait.seconds)
            job = waited.job
            if not job.status.ended:
                waited.acknowledge(resp)
                give_job(req, resp, job, 202)
                return
            self._components.responses.give_stored(resp, writer, job)
        if job is not None:
            resp.set_header("Content-Location", f"{req.root_path}/v1/jobs/{job.id}/result")

    def _give_inline(self, resp: Any, writer: Writer, inline: Inline) -> None:
        plan, wanted = inline.plan, writer.rows.of(len(inline.explanation))
        explanation = inline.explanation[wanted.start : wanted.stop]
        result = Result(
            job_id=None if inline.job is None else inline.job.id,
            model=plan.model_id,
            method=plan.method.value,
            feature_names=plan.feature_names,
            output_names=plan.output_names,
            rows=len(explanation),
            explanations=lambda: iter([explanation]),
        )
        self._components.responses.give(resp, writer, result)
