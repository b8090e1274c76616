"""/v1/jobs and below: submit, list, await and delete jobs; results, summaries and plots."""

from __future__ import annotations

import contextlib
import threading
from typing import Any
from urllib.parse import urlencode

import orjson

from services.api.explain.plan import Inline
from services.api.explain.submission import OPTION_PARAMETERS
from services.api.http.authentication import Access
from services.api.http.query import Query, read_row_range, read_wait
from services.api.resources.resource import Resource
from services.api.results.negotiation import acceptable, accepts_gzip, gzip_stream
from services.api.results.plots.kinds import KINDS, PlotParameters, draw_plot
from services.api.results.plots.png import render_png
from services.api.results.result import JobNames
from services.api.results.summaries import summary_document
from services.api.results.writer import Writer, completed
from services.api.rows.readers import choose_reader
from shared.errors import BadParameterError, ConflictError, NotFoundError, PayloadMissingError
from shared.jobs.document import Job, Status
from shared.jobs.ids import is_job_id

#: Jobs on one page of the list, by default and at most.
PAGE, MAX_PAGE = 20, 100
#: The media types of a plot, in the order of preference if the client has none.
SVG, PNG = "image/svg+xml", "image/png"
#: One summary is written at a time: that of a wide model takes 20 MB meanwhile.
_one_summary = threading.Lock()


class JobsResource(Resource, access=Access.JOBS):
    """The collection of jobs."""

    check_content_type = staticmethod(choose_reader)

    def on_post(self, req: Any, resp: Any) -> None:
        """Accept a job: 202, or 200 if it has ended within the time that the client wants to wait."""
        query = Query(req, *OPTION_PARAMETERS, "wait")
        wait = read_wait(query, req.get_header("Prefer"))
        outcome = self._components.submission.submit(req, query, waits=wait.seconds > 0)
        job = outcome.job if isinstance(outcome, Inline) else outcome
        assert job is not None  # only a request for values keeps none
        waited = self._components.job_waits.wait_for_accepted(job, wait.seconds)
        wait.acknowledge(resp)
        waited.acknowledge(resp)
        job = waited.job
        give_job(req, resp, job, 200 if wait.seconds and job.status.ended else 202)

    def on_get(self, req: Any, resp: Any) -> None:
        """List jobs, newest first."""
        query = Query(req, "status", "limit", "cursor")
        status = query.choice("status", Status)
        limit = query.whole("limit", PAGE, 1, MAX_PAGE)
        cursor = query.text("cursor")
        if cursor is not None and not is_job_id(cursor):
            raise BadParameterError("Invalid cursor. Use the `next` value of a previous page.")
        page = self._components.store.page(status, limit, cursor)
        following = None
        if page.cursor is not None:
            query_string = urlencode(req.params | {"limit": limit, "cursor": page.cursor})
            following = f"{req.root_path}/v1/jobs?{query_string}"
        resp.media = {"jobs": [job.document(req.root_path) for job in page.jobs], "next": following}


class JobResource(Resource, access=Access.JOBS):
    """One job."""

    def on_get(self, req: Any, resp: Any, job_id: str) -> None:
        """Answer with the job document, at the job's end if the client waits for that."""
        wait = read_wait(Query(req, "wait"), req.get_header("Prefer"))
        job = self._components.store.get(job_id)
        waited = self._components.job_waits.wait(job, wait.seconds)
        wait.acknowledge(resp)
        waited.acknowledge(resp)
        resp.media = waited.job.document(req.root_path)

    def on_delete(self, req: Any, resp: Any, job_id: str) -> None:
        """Cancel an active job: its rows are deleted, its document stays until it expires.

        A job that has ended is deleted altogether, unless the client only wants to cancel.
        """
        only_cancels = Query(req, "cancel").flag("cancel")
        store, payloads = self._components.store, self._components.payloads
        with contextlib.suppress(PayloadMissingError):  # a damaged record can be deleted
            store.get(job_id)
        if not store.cancel(job_id):
            if only_cancels:
                raise ConflictError(
                    f"The job has ended: it is {store.get(job_id).status}. Nothing was deleted."
                )
            # First: on a full disk, the room of the objects is what lets Redis forget the job.
            payloads.delete_job(job_id)
            store.transitions.forget(job_id)
        payloads.delete_job(job_id)
        resp.status = 204


class ResultResource(Resource, access=Access.JOBS):
    """The result of one job."""

    def on_get(self, req: Any, resp: Any, job_id: str) -> None:
        """Answer with the values and interactions of all rows, or of a page of them."""
        query = Query(req, "offset", "limit", "interactions", "csv_safe")
        interactions = query.flag("interactions") is not False
        safe = query.flag("csv_safe") is not False
        writer = Writer.negotiate(req, read_row_range(query), interactions=interactions, csv_safe=safe)
        job = self._components.store.get(job_id)
        self._components.responses.give_stored(resp, writer, job)


class SummaryResource(Resource, access=Access.JOBS):
    """The summary of one job."""

    def on_get(self, req: Any, resp: Any, job_id: str) -> None:
        """Answer with the summary."""
        Query(req)
        components = self._components
        job = components.store.get(job_id)
        with completed(components.store, job), components.plots:
            summary, names = components.summaries.of(job), JobNames.of(job, components.catalog)
            with _one_summary:
                resp.data = orjson.dumps(summary_document(job, summary, names))


class PlotResource(Resource, access=Access.JOBS):
    """One plot of one job."""

    def on_get(self, req: Any, resp: Any, job_id: str, kind: str) -> None:
        """Answer with the picture."""
        if kind not in KINDS:
            raise NotFoundError(f"Unknown plot {kind[:40]!r}. Available plots: {', '.join(KINDS)}.")
        query = Query(req, *KINDS[kind])
        media_type = acceptable(req.get_header("Accept"), (SVG, PNG), "A plot")[0]
        components = self._components
        job = components.store.get(job_id)
        wanted = PlotParameters.read(query, job, components.catalog)
        with completed(components.store, job), components.plots:
            drawing = draw_plot(kind, job, wanted, components.summaries)
            picture = render_png(drawing) if media_type == PNG else drawing.svg()
        resp.content_type = media_type
        resp.set_header("Vary", "Accept, Accept-Encoding")
        resp.set_header("Content-Disposition", f'inline; filename="{kind}-{job.id}.{media_type[6:9]}"')
        if media_type == SVG and accepts_gzip(req.get_header("Accept-Encoding")):
            resp.set_header("Content-Encoding", "gzip")
            picture = b"".join(gzip_stream([picture]))
        resp.data = picture


def give_job(req: Any, resp: Any, job: Job, status: int) -> None:
    """Answer with a job document and its address."""
    resp.status = status
    resp.media = job.document(req.root_path)
    resp.set_header("Location", resp.media["links"]["self"])
