"""The steps of a client as generators, which do no I/O themselves.

They yield requests and pauses, and are sent responses. The blocking and the asynchronous client run the same
generators.
"""

from __future__ import annotations

import contextlib
import io
import logging
import random
import secrets
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import numpy as np

from shapbox.data import read_data
from shapbox.errors import NoAnswerError, RefusedError
from shapbox.exchange import Body, Request, Response
from shapbox.explanation import Explanation
from shapbox.progress import Progress, showing
from shapbox.rows import body_of, known, media_type_of

Document = dict[str, Any]
T = TypeVar("T")

#: Responses that say "not now" and changed nothing, and those of a proxy that cannot reach the appliance.
NOT_NOW = frozenset({429, 502, 503, 504, 507})
#: A job has ended in one of these states.
ENDED = frozenset({"completed", "failed", "cancelled"})
#: Bytes of a body up to which rows may be explained at once, without a job.
_INLINE_BYTES = 256 * 1024
#: Jobs on a page of the list.
_PAGE = 100
#: Seconds that one look at a job waits for its end, and with a progress display.
_WAIT, _WAIT_SHOWN = 30, 1
#: Seconds without a byte until a request with rows or a result counts as broken: the server reads all rows first.
_TRANSFER_SECONDS = 600.0
#: Seconds until a request is sent again, if the response does not say: at first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
_JSON, _NPY = "application/json", "application/x-npy"

_log = logging.getLogger("shapbox")


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Flow = Generator["Request | Pause", Any, T]


@dataclass(frozen=True)
class Options:
    """The values to compute, and the model to compute them for."""

    model: str | None = None
    method: str | None = None
    interactions: bool = False
    top_pairs: int | None = None

    @property
    def query(self) -> str:
        """The query of a request with rows."""
        given = {**vars(self), "interactions": "true" if self.interactions else None}
        return "?" + urlencode({name: value for name, value in given.items() if value is not None})


class JobState:
    """A job's document and what follows from it."""

    def __init__(self, document: Document) -> None:
        self.document = document

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.document["id"])

    @property
    def status(self) -> str:
        """One of queued, running, completed, failed and cancelled, as last heard."""
        return str(self.document["status"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.status}, {self.document['model']})"


@dataclass
class Flows:
    """`patience`: seconds for which a request is repeated until it has a response that counts."""

    patience: float
    _models: dict[str, Document] = field(default_factory=dict)

    def ask(self, request: Request) -> Flow[Response]:
        """Send a request that may be repeated, until there is a response.

        Raises RefusedError and NoAnswerError.
        """
        deadline = time.monotonic() + self.patience
        pause = _FIRST_PAUSE
        while True:
            answer: Response | NoAnswerError = yield request
            if isinstance(answer, Response) and 200 <= answer.status < 300:
                return answer
            fault, delay = _refusal(answer, pause) if isinstance(answer, Response) else (answer, pause)
            if delay is None or time.monotonic() + delay > deadline:
                raise fault
            _log.warning("%s; trying again in %.1f s", fault, delay)
            yield Pause(delay * random.uniform(1, 1.2))  # noqa: S311  # so that clients do not come all at once
            pause = min(2 * pause, _LONGEST_PAUSE)

    def models(self) -> Flow[list[Document]]:
        """List all versions of all models."""
        return list((yield from self._get("/v1/models"))["models"])

    def page(self, path: str, status: str | None) -> Flow[tuple[list[Document], str | None]]:
        """Return the jobs of a page, and the path of the next page.

        An empty `path` means the first page.
        """
        query = {"limit": _PAGE} if status is None else {"limit": _PAGE, "status": status}
        page = yield from self._get(path or f"/v1/jobs?{urlencode(query)}")
        return page["jobs"], page["next"]

    def job(self, job_id: str, query: str = "") -> Flow[Document]:
        """Return a job's document."""
        return dict((yield from self._get(f"/v1/jobs/{quote(job_id)}{query}")))

    def explain(self, rows: Any, options: Options, progress: Progress) -> Flow[Explanation]:
        """Explain rows: few of them in one request, which keeps no job; others as a job."""
        rows = known(rows)
        body = body_of(rows)
        if body.length is None or body.length > _INLINE_BYTES:
            document = yield from self._submit(body, options, None, progress=False)
        else:
            # Without an Idempotency-Key: repeating a computation is harmless, and for a key the appliance keeps a job.
            path = f"/v1/explain{options.query}"
            request = Request("POST", path, {"Accept": _JSON}, body, _TRANSFER_SECONDS)
            answer = yield from self.ask(request)
            if answer.status == 200:
                return (yield from self._from_json(answer.json(), rows))
            document = answer.json()
        document = yield from self.follow(document, progress)
        return (yield from self.result(document, rows))

    def submit(self, rows: Any, options: Options, key: str | None, progress: Progress) -> Flow[Document]:
        """Submit rows as a job; repeated requests with the same key give the same job."""
        return (yield from self._submit(body_of(known(rows)), options, key, progress=progress))

    def follow(
        self, job: Mapping[str, Any], progress: Progress, seconds: float | None = None
    ) -> Flow[Document]:
        """Wait until a job has ended; return its document. Raises TimeoutError after `seconds`."""
        document = dict(job)
        deadline = None if seconds is None else time.monotonic() + seconds
        with showing(progress, "explaining") as show:
            while True:
                show(document["batches"]["completed"], document["batches"]["total"])
                if document["status"] in ENDED:
                    return document
                wait: float = _WAIT_SHOWN if progress else _WAIT
                if deadline is not None:
                    wait = max(0.0, min(wait, deadline - time.monotonic()))
                document = yield from self.job(document["id"], f"?wait={wait:.3f}")
                if wait == 0 and document["status"] not in ENDED:  # asked at least once
                    raise TimeoutError(f"Job {document['id']} is {document['status']} after {seconds} s.")

    def result(self, job: Mapping[str, Any], rows: Any) -> Flow[Explanation]:
        """Return the explanation of a job that has ended, and of its rows if they are known."""
        rows = None if rows is None else known(rows)
        if "top_pairs" in job:
            answer = yield from self._result(job, _JSON)
            return (yield from self._from_json(answer.json(), rows))
        array = yield from self._array(job, "?interactions=false")
        matrices = (yield from self._array(job)) if "interactions" in job else None
        model = yield from self._model(job["model"])
        return Explanation(
            values=array[..., :-1] if array.ndim == 2 else np.moveaxis(array[..., :-1], 1, -1),
            base_values=array[..., -1],
            interactions=_without_base_values(matrices),
            **_names(model, job, job["id"]),
            **read_data(rows, model),
        )

    def save(self, job: Mapping[str, Any], path: Path, progress: Progress) -> Flow[None]:
        """Write a job's result to a file, which appears when it is complete."""
        media_type = media_type_of(path)
        part = path.with_name(f"{path.name}.part")
        try:
            with part.open("wb") as sink, showing(progress, "saving") as show:
                yield from self._result(job, media_type, sink=sink, show=show)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def fetch(self, job: Mapping[str, Any], media_type: str) -> Flow[bytes]:
        """Return a job's result as bytes of a media type."""
        return (yield from self._result(job, media_type)).body

    def cancel(self, job_id: str) -> Flow[Document]:
        """Cancel a job unless it has ended; return its document."""
        document = yield from self.job(job_id)
        if document["status"] not in ENDED:
            yield from self.ask(Request("DELETE", f"/v1/jobs/{job_id}"))
            document = yield from self.job(job_id)
        return document

    def delete(self, job_id: str) -> Flow[None]:
        """Delete a job. The first request cancels it if it is active; the second one removes it."""
        try:
            for _ in range(2):
                yield from self.ask(Request("DELETE", f"/v1/jobs/{job_id}"))
        except RefusedError as refusal:
            if refusal.status != 404:
                raise

    def _get(self, path: str) -> Flow[Any]:
        return (yield from self.ask(Request("GET", path, {"Accept": _JSON}))).json()

    def _submit(self, body: Body, options: Options, key: str | None, *, progress: Progress) -> Flow[Document]:
        headers = {"Accept": _JSON, "Idempotency-Key": key or f"shapbox-python-{secrets.token_hex(16)}"}
        path = f"/v1/jobs{options.query}"
        with showing(progress, "sending") as show:
            request = Request("POST", path, headers, body, _TRANSFER_SECONDS, show=show)
            return dict((yield from self.ask(request)).json())

    def _result(self, job: Mapping[str, Any], accept: str, query: str = "", **more: Any) -> Flow[Response]:
        path = f"/v1/jobs/{job['id']}/result{query}"
        return (
            yield from self.ask(Request("GET", path, {"Accept": accept}, seconds=_TRANSFER_SECONDS, **more))
        )

    def _array(self, job: Mapping[str, Any], query: str = "") -> Flow[Any]:
        answer = yield from self._result(job, _NPY, query)
        return np.load(io.BytesIO(answer.body), allow_pickle=False)

    def _from_json(self, result: Mapping[str, Any], rows: Any) -> Flow[Explanation]:
        model = yield from self._model(result["model"])
        interactions = result.get("interactions")
        return Explanation(
            values=np.array(result["values"], dtype=np.float32),
            base_values=np.array(result["base_values"], dtype=np.float32),
            interactions=None if interactions is None else np.array(interactions, dtype=np.float32),
            pairs=result.get("pairs"),
            **_names(model, result, result["job"]),
            **read_data(rows, model),
        )

    def _model(self, version: str) -> Flow[Document]:
        """Return the document of a version, which never changes."""
        if version not in self._models:
            self._models[version] = yield from self._get(f"/v1/models/{quote(version)}")
        return self._models[version]


def _refusal(answer: Response, pause: float) -> tuple[RefusedError, float | None]:
    """Return the error of a response, and after how many seconds to ask again; None for never."""
    delay: float | None = pause if answer.status in NOT_NOW else None
    with contextlib.suppress(ValueError):  # a proxy may send a date
        delay = delay and float(answer.headers.get("retry-after", delay))
    return RefusedError.of(answer), delay


def _names(model: Document, source: Mapping[str, Any], job_id: str | None) -> dict[str, Any]:
    names = {"feature_names": list(model["features"]), "output_names": list(model["outputs"])}
    return {**names, "model": source["model"], "method": source["method"], "job_id": job_id}


def _without_base_values(matrices: Any) -> Any:
    """Return rows x features x features (x outputs)."""
    if matrices is None or matrices.ndim == 3:
        return None if matrices is None else matrices[..., :-1, :-1]
    return np.moveaxis(matrices[..., :-1, :-1], 1, -1)
