"""The blocking client."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

from shapbox.errors import NoAnswerError
from shapbox.exchange import Address, Download, Request, Response, bare
from shapbox.explanation import Explanation
from shapbox.flows import Document, Flow, Flows, JobState, Options, Pause
from shapbox.progress import Progress

T = TypeVar("T")


class Shapbox:
    """An appliance. Safe to use from several threads.

    `url` defaults to SHAPBOX_URL, and `key` to SHAPBOX_API_KEY; an empty key sends none. A request that gets no response, or
    429, 503 or 507, is repeated for `patience` seconds, as Retry-After says.
    """

    def __init__(self, url: str | None = None, key: str | None = None, *, patience: float = 120.0) -> None:
        self._address = Address(url, key)
        self.url = self._address.url
        self.flows = Flows(patience)
        self._http = httpx.Client(**self._address.http_options)
        self.close = weakref.finalize(self, self._http.close)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 30.0,
    ) -> Response:
        """Make one bare call: no repetition, and no exception for a status. Raises NoAnswerError."""
        return self._send(bare(method, path, body, headers, seconds))

    def models(self) -> list[Document]:
        """List all versions of all models."""
        return self.run(self.flows.models())

    def jobs(self, status: str | None = None) -> Iterator[Job]:
        """List jobs, newest first, page after page."""
        path: str | None = ""
        while path is not None:
            documents, path = self.run(self.flows.page(path, status))
            yield from (Job(self, document) for document in documents)

    def job(self, job_id: str) -> Job:
        """Return a job by its id."""
        return Job(self, self.run(self.flows.job(job_id)))

    def explain(
        self,
        rows: Any,
        model: str | None = None,
        method: str | None = None,
        *,
        interactions: bool = False,
        top_pairs: int | None = None,
        progress: Progress = False,
    ) -> Explanation:
        """Explain rows, and wait for the values.

        `rows` is a DataFrame, an array (with codes for categories), a list of rows, a dict, or the path of a CSV, NPY,
        NDJSON or Parquet file. `model` is NAME or NAME@VERSION. Raises RowsError, RefusedError and NoAnswerError.
        """
        options = Options(model, method, interactions, top_pairs)
        return self.run(self.flows.explain(rows, options, progress))

    def submit(
        self,
        rows: Any,
        model: str | None = None,
        method: str | None = None,
        *,
        interactions: bool = False,
        top_pairs: int | None = None,
        idempotency_key: str | None = None,
        progress: Progress = False,
    ) -> Job:
        """Submit rows as a job; see `explain`. `progress` shows the bytes that are sent.

        Give an `idempotency_key` of your own to get the same job again after your program has restarted.
        """
        options = Options(model, method, interactions, top_pairs)
        return Job(self, self.run(self.flows.submit(rows, options, idempotency_key, progress)), rows)

    def __enter__(self) -> Shapbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, flow: Flow[T]) -> T:
        """Do what a flow yields, until it returns."""
        try:
            step = next(flow)
            while True:
                step = flow.send(self._outcome(step))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a flow's value has its type
        finally:
            flow.close()

    def _outcome(self, step: Request | Pause) -> Response | NoAnswerError | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._send(step)
        except NoAnswerError as fault:
            return fault

    def _send(self, request: Request) -> Response:
        try:
            answer = self._http.send(self._address.prepare(request), stream=True)
            try:
                download = Download(request, answer)
                for chunk in answer.iter_raw():
                    download.write(chunk)
            finally:
                answer.close()
        except httpx.TransportError as fault:
            raise self._address.no_answer(request, fault) from fault
        return download.response()


class Job(JobState):
    """A job of an appliance. `document` is what was last heard of it."""

    def __init__(self, box: Shapbox, document: Document, rows: Any = None) -> None:
        super().__init__(document)
        self._box = box
        self._rows = rows

    def wait(self, *, progress: Progress = False, seconds: float | None = None) -> Job:
        """Wait until the job has ended, in any way. Raises TimeoutError after `seconds`.

        `progress` is True for a bar, or a function that gets the completed batches and their total.
        """
        self.document = self._box.run(self._box.flows.follow(self.document, progress, seconds))
        return self

    def result(self) -> Explanation:
        """Wait, and return the explanation. Raises RefusedError if the job failed or was cancelled."""
        return self._box.run(self._box.flows.result(self.wait().document, self._rows))

    def fetch(self, media_type: str) -> bytes:
        """Wait, and return the result in a media type of the REST API, such as text/csv."""
        return self._box.run(self._box.flows.fetch(self.wait().document, media_type))

    def save(self, path: str | Path, *, progress: Progress = False) -> None:
        """Wait, and write the result to a CSV, NPY or NDJSON file without holding it in memory."""
        self._box.run(self._box.flows.save(self.wait().document, Path(path), progress))

    def cancel(self) -> None:
        """Cancel the job unless it has ended."""
        self.document = self._box.run(self._box.flows.cancel(self.id))

    def delete(self) -> None:
        """Delete the job, its rows and its values; an active job is cancelled first."""
        self._box.run(self._box.flows.delete(self.id))
