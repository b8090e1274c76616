"""Writes results into responses, in the format negotiated at the start of the request."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from services.api.http.access_log import CLIENT_LEFT
from services.api.http.concurrency_limits import ConcurrencyLimit
from services.api.http.problems import JobCancelledError, JobFailedError
from services.api.http.query import MAX_WAIT, RowRange
from services.api.results.csv_format import write_csv
from services.api.results.json_format import write_json, write_ndjson
from services.api.results.negotiation import acceptable, accepts_gzip, gzip_stream, not_acceptable
from services.api.results.npy_format import measure_npy, seek_npy, write_npy
from services.api.results.ranges import ByteRange, cut, measure
from services.api.results.result import JobNames, Result, StoredRows
from shared.build import VERSION
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
#: Lengths of results that are kept: a client that resumes one may do so again.
KEPT_LENGTHS = 1024


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
    #: Begins at most at a byte, and returns where, if that is possible without making what is before it.
    seek: Callable[[Result, int], tuple[Iterator[bytes], int]] | None = None

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
        Format("application/x-npy", write_npy, "npy", matrices=True, measure=measure_npy, seek=seek_npy),
    )
}
#: CSV with all names as they are, also those that a spreadsheet takes for formulas.
RAW_CSV = replace(FORMATS["text/csv"], write=partial(write_csv, safe=False))


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
    #: Whether the answer can be requested again in parts: not that of a POST.
    resumable: bool = False
    #: The only part that is wanted, if the result still has this entity tag or the client names none.
    part: ByteRange | None = None
    if_range: str | None = None
    #: Whether the client has closed its connection meanwhile.
    client_left: Callable[[], bool] = bool

    @classmethod
    def negotiate(
        cls, req: Any, rows: RowRange, *, interactions: bool = True, csv_safe: bool = True
    ) -> Writer:
        """Read the request's headers. Raises NotAcceptableError if no format is accepted."""
        accept = req.get_header("Accept")
        given = FORMATS if csv_safe else FORMATS | {RAW_CSV.media_type: RAW_CSV}
        formats = [given[name] for name in acceptable(accept, tuple(given), "A result")]
        zipped = accepts_gzip(req.get_header("Accept-Encoding"))
        asked = req.get_header("Range") if req.method == "GET" else None
        return cls(
            accept,
            formats,
            zipped,
            rows,
            interactions,
            head_only=req.method == "HEAD",
            resumable=req.method != "POST",
            part=ByteRange.parse(asked) if asked else None,
            if_range=req.get_header("If-Range"),
            client_left=req.env.get(CLIENT_LEFT, bool),
        )

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
        self,
        store: JobStore,
        payloads: Payloads,
        catalog: ModelCatalog,
        streams: ConcurrencyLimit,
        commit: str,
    ) -> None:
        """Use `streams` to limit large results. Another `commit` may write other bytes."""
        self._store = store
        self._commit = commit
        #: The lengths of results that were counted for a range, by entity tag.
        self._lengths: dict[str, int] = {}
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
        small = _numbers(result) <= WHOLE_NUMBERS
        if writer.gzip:
            resp.set_header("Content-Encoding", "gzip")
            chunks = gzip_stream(used.write(result))
        elif writer.resumable and (part := self._wanted_part(resp, writer, used, result, small=small)):
            chunks = _write_part(used, result, part, writer)
            resp.content_length = len(part)
        else:
            chunks = used.write(result)
            if used.measure:
                resp.content_length = used.measure(result)
        if small:
            resp.data = b"".join(chunks)
        elif not writer.head_only:
            stream = _limited(chunks, self._streams)
            next(stream)
            resp.stream = stream

    def _wanted_part(
        self, resp: Any, writer: Writer, used: Format, result: Result, *, small: bool
    ) -> range | None:
        """Tell the entity tag; return the places of the part that is wanted, or None for all.

        Raises RangeNotSatisfiableError and BusyError.
        """
        resp.etag = tag = self._entity_tag(used, result)
        resp.set_header("Accept-Ranges", "bytes")
        if writer.part is None or writer.if_range not in {None, f'"{tag}"'}:
            return None
        length = used.measure(result) if used.measure else self._lengths.get(tag)
        if length is None:
            with contextlib.nullcontext() if small else self._streams:
                length = measure(used.write(result), writer.client_left)
            if len(self._lengths) >= KEPT_LENGTHS:
                self._lengths.clear()
            self._lengths[tag] = length
        resp.set_header("Content-Range", f"bytes */{length}")
        part = writer.part.of(length)
        resp.status = 206
        resp.set_header("Content-Range", f"bytes {part.start}-{part.stop - 1}/{length}")
        return part

    def _entity_tag(self, used: Format, result: Result) -> str:
        """Return the digest of all that the bytes of a stored result depend on."""
        assert result.source is not None
        wanted, interactions = result.source.wanted, result.with_interactions is not None
        build = (VERSION, self._commit, used.media_type, used is RAW_CSV)
        content = (result.job_id, wanted.start, wanted.stop, interactions, result.model, result.method)
        names = (tuple(result.feature_names), tuple(result.output_names))
        return hashlib.sha256(repr((build, content, names)).encode()).hexdigest()[:32]


def _numbers(result: Result) -> int:
    """Return how many numbers are written."""
    features, outputs = len(result.feature_names), len(result.output_names)
    numbers = Explanation.numbers_of(outputs, features)
    if result.with_interactions is not None:
        numbers += result.with_interactions.interactions.numbers(features, outputs)
    return result.rows * numbers


def _write_part(used: Format, result: Result, part: range, writer: Writer) -> Iterator[bytes]:
    chunks, begin = used.seek(result, part.start) if used.seek else (used.write(result), 0)
    return cut(chunks, range(part.start - begin, part.stop - begin), writer.client_left)


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
