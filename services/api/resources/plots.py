"""/v1/jobs/ID/plots/KIND: a job's values as a picture."""

from __future__ import annotations

from typing import Any

from services.api.components import Parts
from services.api.http.authentication import Access
from services.api.http.query import Query
from services.api.results.accept_header import accepts_gzip
from services.api.results.completed_job import completed_job
from services.api.results.compression import gzip_stream
from services.api.results.negotiation import choose_media_type
from services.api.results.plots.kinds import KINDS, Wish
from services.api.results.plots.raster import render_png
from shared.errors import NotFoundError

#: What a plot can be written as, in the order of preference where the client has none.
SVG, PNG = "image/svg+xml", "image/png"


class PlotResource:
    """One plot of one job."""

    access = Access.JOBS

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def on_get(self, req: Any, resp: Any, job_id: str, kind: str) -> None:
        """Answer with the picture."""
        if kind not in KINDS:
            raise NotFoundError(f"There is no plot {kind[:40]!r}: there is {', '.join(KINDS)}.")
        wish = Wish.of(Query(req, *KINDS[kind].parameters))
        media_type = choose_media_type(req.get_header("Accept"), (SVG, PNG), "A plot")
        with completed_job(self._parts, job_id) as job, self._parts.plots:
            picture = KINDS[kind].draw(self._parts, job, wish).svg()
            if media_type == PNG:
                picture = render_png(picture)
        resp.content_type = media_type
        resp.set_header("Vary", "Accept, Accept-Encoding")
        resp.set_header("Content-Disposition", f'inline; filename="{kind}-{job.id}.{media_type[6:9]}"')
        if media_type == SVG and accepts_gzip(req.get_header("Accept-Encoding")):
            resp.set_header("Content-Encoding", "gzip")
            picture = b"".join(gzip_stream(iter([picture])))
        resp.data = picture

    on_head = on_get
