"""Writes results into responses, in the format negotiated at the start of the request."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from services.api.http.concurrency_limits import ConcurrencyLimit
from services.api.http.problems import JobCancelledError, JobFailedError
from services.api.http.query import MAX_WAIT, RowRange
from services.api.results.csv_format import write_csv
from services.api.results.json_format import write_json, write_ndjson
from services.api.results.negotiation import acceptable, accepts_gzip, gzip_stream, not_acceptable
from services.api.results.npy_format import measure_npy, write_npy
from services.api.results.result import JobNames, Result, StoredRows
from shared.errors import PayloadMissingError, ResultNotReadyError
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.jobs.document import Job, Status
from shared.jobs.store import JobStore
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads

#: Numbers up to which a result is made whole before it is sent: it then has a length, and the connection stays open.
#: Larger ones are streamed.
WHOLE_NUMBERS = 131_072


@dataclass(frozen=True, slots=True)
class Format:
    """A media type of results, and whether it can carry matrices and pairs of interactions."""

    media_type: str
    write: Callable[[Result], Iterator[bytes]]
    #: The file name extension of a saved result; None if browsers should show it.
    extension: str | None = None
    matrices: bool = False
    pairs: bool = False
    #: Returns the Content-Length (before gzip), where it is known in advance.
    measure: Callable[[Result], int] | None = None

    def carries(self, interactions: Interactions | None) -> bool:
        """Return whether a result with these interactions can be written."""
        return interactions is None or (self.matrices if interactions.top_pairs is None else self.pairs)


#: In the order of preference if the client has none. CSV has no place for interactions, and pairs are no array.
FORMATS = {
    found.media_type: found
    for found in (
        Format("application/json", write_json, matrices=True, pairs=True),
        Format("text/csv", write_csv, "csv"),
        Format("application/x-ndjson", write_ndjson, matrices=True, pairs=True),
        Format("application/x-npy", write_npy, "npy", matrices=True, measure=measure_npy),
    )
}


@dataclass(frozen=True, slots=True)
class Writer:
    """How one request's result is written. The client accepts `formats`, best first."""

    accept: str | None
    formats: list[Format]
    gzip: bool
    rows: RowRange
    #: Whether the client wants interactions if the result has some.
    interactions: bool = True
    #: Whether only the head of the response is sent (HEAD).
    head_only: bool = False

    @classmethod
    def negotiate(cls, req: Any, rows: RowRange, *, interactions: bool = True) -> Writer:
        """Read the request's headers. Raises NotAcceptableError if no format is accepted."""
        accept = req.get_header("Accept")
        formats = [FORMATS[name] for name in acceptable(accept, tuple(FORMATS), "A result")]
        zipped = accepts_gzip(req.get_header("Accept-Encoding"))
        return cls(accept, formats, zipped, rows, interactions, req.method == "HEAD")

    def format_for(self, interactions: Interactions | None) -> Format:
        """Return the best format that can carry these interactions. Raises NotAcceptableError."""
        for found in self.formats:
            if found.carries(interactions):
                return found
        raise not_acceptable(
            self.accept,
            (name for name, found in FORMATS.items() if found.carries(interactions)),
            "A result with interactions (its values alone are, under /v1/jobs/ID/result?interactions=false)",
        )


class ResultResponses:
    """Writes results into responses."""

    def __init__(
        self, store: JobStore, payloads: Payloads, catalog: ModelCatalog, streams: ConcurrencyLimit
    ) -> None:
        """`streams` limits the large results that are being sent."""
        self._store = store
        self._payloads = payloads
        self._catalog = catalog
        self._streams = streams

    def give_stored(self, resp: Any, writer: Writer, job: Job) -> None:
        """Answer with the result of a job.

        Raises as `completed` does, and NotAcceptableError, BadParameterError and BusyError.
        """
        with completed(self._store, job):
            rows = StoredRows(job, writer.rows.of(job.rows), self._payloads)
            names = JobNames.of(job, self._catalog)
            interactions = writer.interactions and job.interactions is not None
            self.give(resp, writer, Result.stored(rows, names, interactions=interactions))

    def give(self, resp: Any, writer: Writer, result: Result) -> None:
        """Answer with a result: whole if it is small, else streamed. Raises as `give_stored` does."""
        interactions = None if result.with_interactions is None else result.with_interactions.interactions
        used = writer.format_for(interactions)
        resp.status = 200
        resp.content_type = used.media_type
        resp.set_header("Vary", "Accept, Accept-Encoding")
        if used.extension:
            name = f"shap-{result.job_id or 'values'}.{used.extension}"
            resp.set_header("Content-Disposition", f'attachment; filename="{name}"')
        chunks = used.write(result)
        if writer.gzip:
            resp.set_header("Content-Encoding", "gzip")
            chunks = gzip_stream(chunks)
        elif used.measure:
            resp.content_length = used.measure(result)
        features, outputs = len(result.feature_names), len(result.output_names)
        numbers = Explanation.numbers_of(outputs, features)
        if interactions is not None:
            numbers += interactions.numbers(features, outputs)
        if result.rows * numbers <= WHOLE_NUMBERS:
            resp.data = b"".join(chunks)
        elif not writer.head_only:
            stream = _limited(chunks, self._streams)
            next(stream)
            resp.stream = stream


def _limited(chunks: Iterator[bytes], limit: ConcurrencyLimit) -> Iterator[bytes]:
    """Yield nothing once the first rows are read, then all chunks.

    The server closes it, finished or not.
    """
    with limit:
        # The first chunk may be a header that needs no rows; the second one never is. From then on the first batch is known
        # to be there, while the status can still say otherwise.
        started = itertools.chain(list(itertools.islice(chunks, 2)), chunks)
        yield b""
        yield from started


@contextlib.contextmanager
def completed(store: JobStore, job: Job) -> Iterator[None]:
    """Let a block read the objects of a completed job.

    Raises ResultNotReadyError, JobFailedError or JobCancelledError for other jobs, and JobNotFoundError if the job is deleted
    meanwhile.
    """
    _require_result(job)
    try:
        yield
    except PayloadMissingError:
        store.get(job.id)
        raise


def _require_result(job: Job) -> None:
    if job.status is Status.COMPLETED:
        return
    if job.status is Status.FAILED:
        reason = (job.error or {}).get("detail", "the reason is not known")
        raise JobFailedError(f"The job failed, so it has no result: {reason}", job)
    if job.status is Status.CANCELLED:
        raise JobCancelledError(
            "The job was cancelled, so it has no result. Submit the rows again if you need one.", job
        )
    done = job.batches - job.todo
    raise ResultNotReadyError(
        f"The job is {job.status}: {done} of {job.batches} batches are done. Try again later, or wait with "
        f"GET /v1/jobs/{job.id}?wait={MAX_WAIT}."
    )
