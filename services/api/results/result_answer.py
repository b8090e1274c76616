"""Answers with a job's result, in the representation that the client asks for."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

from services.api.components import Parts
from services.api.explain.direct_result import DirectResult
from services.api.explain.plan import Matrix
from services.api.http.concurrency_limits import Share
from services.api.http.problems import JobCancelledError, JobFailedError
from services.api.http.query import RowRange
from services.api.results.accept_header import accepts_gzip
from services.api.results.compression import gzip_stream
from services.api.results.interaction_result import InteractionResult
from services.api.results.negotiation import Writer, choose_writer
from services.api.results.stored_result import StoredResult
from shared.errors import PayloadMissingError, ResultNotReadyError
from shared.jobs.document import Job, Status
from shared.redis.connection import redis_needed

#: Numbers up to which a result is made whole before it is sent: it then has a length, and the connection
#: stays open. Larger ones are streamed.
WHOLE_NUMBERS = 131_072
#: What a browser should call a saved result, by media type.
_FILE_ENDINGS = {"text/csv": "csv", "application/x-npy": "npy"}


def require_result(job: Job) -> None:
    """Raise ResultNotReadyError, JobFailedError or JobCancelledError unless the job is completed."""
    if job.status is Status.COMPLETED:
        return
    members = {"job": job.document()}
    if job.status is Status.FAILED:
        reason = (job.error or {}).get("detail", "the reason is not known")
        raise JobFailedError(f"The job has failed, so it has no result: {reason}", members)
    if job.status is Status.CANCELLED:
        raise JobCancelledError(
            "The job was cancelled, so it has no result. Send the rows again if you need them.", members
        )
    done = job.batches - job.todo
    raise ResultNotReadyError(
        f"The job is {job.status}, {done} of {job.batches} batches are done. Ask again, or wait for it with "
        f"GET /v1/jobs/{job.id}?wait=60."
    )


class ResultAnswer:
    """Writes results into responses."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def give(self, req: Any, resp: Any, job: Job, rows: RowRange, *, interactions: bool = True) -> None:
        """Answer with the result of `job`, which is completed, and with its interactions if it has some and they are wanted.

        Raises NotAcceptableError, BadParameterError, BusyError, and JobNotFoundError if it is deleted just now.
        """
        with_interactions = job.interactions if interactions else None
        kind = StoredResult if with_interactions is None else InteractionResult
        writer = choose_writer(req.get_header("Accept"), with_interactions)
        self._write(
            req, resp, writer, kind.of(job, rows.of(job.rows), self._parts.payloads, self._parts.catalog)
        )

    def give_direct(self, req: Any, resp: Any, job: Job, values: Matrix, rows: RowRange) -> None:
        """Answer with values that were made on the spot. Raises NotAcceptableError and BadParameterError."""
        writer = choose_writer(req.get_header("Accept"))
        self._write(req, resp, writer, DirectResult.of(job, values, rows.of(job.rows), self._parts.catalog))

    def _write(
        self, req: Any, resp: Any, writer: Writer, result: StoredResult | InteractionResult | DirectResult
    ) -> None:
        parts, job = self._parts, result.job
        zipped = accepts_gzip(req.get_header("Accept-Encoding"))
        self._set_headers(resp, job, writer, zipped=zipped)
        if writer.measure and not zipped:
            resp.content_length = writer.measure(result)
        whole = result.numbers <= WHOLE_NUMBERS
        if req.method == "HEAD" and not whole:
            return
        chunks = gzip_stream(writer.write(result)) if zipped else writer.write(result)
        if whole:
            with self._told_if_deleted(job):
                resp.data = b"".join(chunks)
            return
        parts.streams.take()
        stream = _Stream(chunks, parts.streams)
        try:
            stream.chunks = self._begin(job, chunks)
        except BaseException:
            stream.close()
            raise
        resp.stream = stream

    def _begin(self, job: Job, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Read so far that the first batch is known to be there, while the status can still say otherwise."""
        with self._told_if_deleted(job):
            # The first chunk may be a header that needs no rows; the second one never is.
            first = list(itertools.islice(chunks, 2))
        return itertools.chain(first, chunks)

    @contextlib.contextmanager
    def _told_if_deleted(self, job: Job) -> Iterator[None]:
        """Raise JobNotFoundError for an object that is missing because the job was deleted meanwhile."""
        try:
            yield
        except PayloadMissingError:
            with redis_needed():
                self._parts.store.get(job.id)
            raise

    @staticmethod
    def _set_headers(resp: Any, job: Job, writer: Writer, *, zipped: bool) -> None:
        resp.status = 200
        resp.content_type = writer.media_type
        resp.set_header("Vary", "Accept, Accept-Encoding")
        if zipped:
            resp.set_header("Content-Encoding", "gzip")
        if ending := _FILE_ENDINGS.get(writer.media_type):
            name = job.id or "values"
            resp.set_header("Content-Disposition", f'attachment; filename="shap-{name}.{ending}"')


class _Stream:
    """The body of a large result; gives its place among the streams back when it is closed."""

    def __init__(self, chunks: Iterator[bytes], share: Share) -> None:
        self.chunks = chunks
        self._share: Share | None = share

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def close(self) -> None:
        """End the stream, at its end or before it."""
        if self._share is not None:
            self._share.give_back()
            self._share = None
