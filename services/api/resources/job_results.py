"""/v1/jobs/ID/result, …/summary and …/plots/KIND: the values of a completed job."""

from __future__ import annotations

import threading
from typing import Any

import orjson

from services.api.components import Components
from services.api.http.authentication import Access
from services.api.http.query import Query, read_row_range
from services.api.results.negotiation import accepts_gzip, choose_media_type, gzip_stream
from services.api.results.plots.kinds import KINDS, PlotOptions, draw_plot
from services.api.results.plots.png import render_png
from services.api.results.result import JobNames
from services.api.results.summaries import summary_document
from services.api.results.writer import ResultResponses, Writer, completed_job, require_result
from shared.errors import NotFoundError
from shared.jobs.store import JobStore
from shared.redis.connection import redis_needed

#: The media types of a plot, in the order of preference if the client has none.
SVG, PNG = "image/svg+xml", "image/png"


class ResultResource:
    """The result of one job."""

    access = Access.JOBS

    def __init__(self, store: JobStore, responses: ResultResponses) -> None:
        self._store = store
        self._responses = responses

    def on_get(self, req: Any, resp: Any, job_id: str) -> None:
        """Answer with the values and interactions of all rows, or of a page of them."""
        query = Query(req, "offset", "limit", "interactions")
        interactions = query.flag("interactions") is not False
        writer = Writer.negotiate(req, read_row_range(query), interactions=interactions)
        with redis_needed():
            job = self._store.get(job_id)
        require_result(job)
        self._responses.give_stored(resp, writer, job)

    on_head = on_get


class SummaryResource:
    """The summary of one job."""

    access = Access.JOBS

    def __init__(self, components: Components) -> None:
        self._components = components
        #: One is written at a time: that of a wide model takes 20 MB meanwhile.
        self._one = threading.Lock()

    def on_get(self, req: Any, resp: Any, job_id: str) -> None:
        """Answer with the summary."""
        Query(req)
        components = self._components
        with completed_job(components.store, job_id) as job, components.plots:
            summary, names = components.summaries.of(job), JobNames.of(job, components.catalog)
            with self._one:
                resp.data = orjson.dumps(summary_document(job, summary, names))
        resp.content_type = "application/json"

    on_head = on_get


class PlotResource:
    """One plot of one job."""

    access = Access.JOBS

    def __init__(self, components: Components) -> None:
        self._components = components

    def on_get(self, req: Any, resp: Any, job_id: str, kind: str) -> None:
        """Answer with the picture."""
        if kind not in KINDS:
            raise NotFoundError(f"Unknown plot {kind[:40]!r}. Available plots: {', '.join(KINDS)}.")
        options = PlotOptions.of(Query(req, *KINDS[kind]))
        media_type = choose_media_type(req.get_header("Accept"), (SVG, PNG), "A plot")
        components = self._components
        with completed_job(components.store, job_id) as job, components.plots:
            picture = draw_plot(kind, job, options, components.summaries, components.catalog).svg()
            if media_type == PNG:
                picture = render_png(picture)
        resp.content_type = media_type
        resp.set_header("Vary", "Accept, Accept-Encoding")
        resp.set_header("Content-Disposition", f'inline; filename="{kind}-{job.id}.{media_type[6:9]}"')
        if media_type == SVG and accepts_gzip(req.get_header("Accept-Encoding")):
            resp.set_header("Content-Encoding", "gzip")
            picture = b"".join(gzip_stream([picture]))
        resp.data = picture

    on_head = on_get
