"""What a client does, without doing it: generators that yield requests and pauses, and are sent responses.

The blocking and the asynchronous client run the same generators.
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
from shapbox.exchange import Body, Request, Response, Show
from shapbox.explanation import Explanation

Document = dict[str, Any]
T = TypeVar("T")

#: Responses that say "not now" and changed nothing, and those of a proxy that cannot reach the appliance.
NOT_NOW = frozenset({429, 502, 503, 504, 507})
#: A job has ended in one of these states.
ENDED = frozenset({"completed", "failed", "cancelled"})
#: Bytes of a body up to which rows may be explained at once, without a job.
_INLINE_BYTES = 256 * 1024
#: Seconds that one look at a job waits for its end, and with a progress display.
_WAIT, _WAIT_SHOWN = 30, 1
#: Seconds without a byte until a request with rows or a result counts as broken: the server reads all rows first.
_TRANSFER_SECONDS = 600.0
#: Seconds until a request is sent again, if the response does not say: at first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0

JSON, NPY = "application/json", "application/x-npy"

_log = logging.getLogger("shapbox")


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Flow = Generator["Request | Pause", Any, T]


@dataclass(frozen=True)
class Options:
    """What to compute, for which model."""

    model: str | None = None
    method: str | None = None
    interactions: bool = False
    top_pairs: int | None = None

    @property
    def query(self) -> str:
        """The query of a request with rows."""
        given = {
            "model": self.model,
            "method": self.method,
            "interactions": "true" if self.interactions else None,
            "top_pairs": self.top_pairs,
        }
        text = urlencode({name: value for name, value in given.items() if value is not None})
        return text and f"?{text}"


@dataclass
class Flows:
    """`patience`: seconds for which a request is repeated until it has a response that counts."""

    patience: float
    _models: dict[str, Document] = field(default_factory=dict)

    def ask(self, request: Request) -> Flow[Response]:
        """Send a request that may be repeated, until there is a response; raises RefusedError."""
        deadline = time.monotonic() + self.patience
        pause = _FIRST_PAUSE
        while True:
            try:
                answer: Response = yield request
            except NoAnswerError as fault:
                reason, delay = str(fault), pause
                if time.monotonic() + delay > deadline:
                    raise
            else:
                if answer.status < 400:
                    return answer
                refusal = RefusedError.of(answer)
                reason, delay = str(refusal), _retry_after(answer, pause)
                if answer.status not in NOT_NOW or time.monotonic() + delay > deadline:
                    raise refusal
            pause = min(2 * pause, _LONGEST_PAUSE)
            _log.warning("%s Trying again in %.1f s.", reason, delay)
            yield Pause(delay * random.uniform(1, 1.2))  # noqa: S311  # so that clients do not come all at once

    def get(self, path: str, accept: str = JSON) -> Flow[Any]:
        """Get a JSON document."""
        answer = yield from self.ask(Request("GET", path, {"Accept": accept}))
        return answer.json()

    def models(self) -> Flow[list[Document]]:
        """List all versions of all models."""
        return list((yield from self.get("/v1/models"))["models"])

    def explain(self, rows: Any, body: Body, options: Options, show: Show | None) -> Flow[Explanation]:
        """Explain rows: few of them in one request, which keeps no job; others as a job."""
        if body.length is not None and body.length <= _INLINE_BYTES:
            # Without an Idempotency-Key: repeating a computation is harmless, and a key makes the appliance keep a job.
            request = Request(
                "POST", f"/v1/explain{options.query}", {"Accept": JSON}, body, _TRANSFER_SECONDS
            )
            answer = yield from self.ask(request)
            if answer.status == 200:
                return (yield from self._from_json(answer.json(), rows))
            document = answer.json()
        else:
            document = yield from self.submit(body, options, new_key(), None)
        document = yield from self.follow(document, show)
        return (yield from self.result(document, rows))

    def submit(self, body: Body, options: Options, key: str, show: Show | None) -> Flow[Document]:
        """Submit rows as a job; repeated requests with the same key give the same job."""
        headers = {"Accept": JSON, "Idempotency-Key": key}
        request = Request("POST", f"/v1/jobs{options.query}", headers, body, _TRANSFER_SECONDS, show=show)
        return dict((yield from self.ask(request)).json())

    def follow(
        self, job: Mapping[str, Any], show: Show | None, seconds: float | None = None
    ) -> Flow[Document]:
        """Wait until a job has ended; return its document. Raises TimeoutError after `seconds`."""
        document = dict(job)
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            if show:
                show(document["batches"]["completed"], document["batches"]["total"])
            if document["status"] in ENDED:
                return document
            left = _WAIT if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"Job {document['id']} is {document['status']} after {seconds} s.")
            wait = min(left, _WAIT_SHOWN if show else _WAIT)
            document = yield from self.get(f"/v1/jobs/{document['id']}?wait={wait:.3f}")

    def result(self, job: Mapping[str, Any], rows: Any) -> Flow[Explanation]:
        """Return the explanation of a job that has ended, and of its rows if they are known."""
        if "top_pairs" in job:
            answer = yield from self._result(job, JSON)
            return (yield from self._from_json(answer.json(), rows))
        answer = yield from self._result(job, NPY, "?interactions=false")
        array = np.load(io.BytesIO(answer.body), allow_pickle=False)
        matrices = None
        if "interactions" in job:
            answer = yield from self._result(job, NPY)
            matrices = np.load(io.BytesIO(answer.body), allow_pickle=False)[..., :-1, :-1]
        model = yield from self._model(job["model"])
        several = len(model["outputs"]) > 1
        return Explanation(
            values=np.moveaxis(array[..., :-1], 1, -1) if several else array[..., :-1],
            base_values=array[..., -1],
            interactions=np.moveaxis(matrices, 1, -1) if several and matrices is not None else matrices,
            **_names(model, job),
            **read_data(rows, model),
        )

    def save(self, job: Mapping[str, Any], path: Path, media_type: str, show: Show | None) -> Flow[None]:
        """Write a job's result to a file, which appears when it is complete."""
        part = path.with_name(f"{path.name}.part")
        try:
            with part.open("wb") as sink:
                yield from self._result(job, media_type, sink=sink, show=show)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def fetch(self, job: Mapping[str, Any], media_type: str) -> Flow[bytes]:
        """Return a job's result as bytes of a media type."""
        return (yield from self._result(job, media_type)).body

    def cancel(self, job_id: str) -> Flow[Document]:
        """Cancel a job unless it has ended; return its document."""
        document = yield from self.get(f"/v1/jobs/{job_id}")
        if document["status"] not in ENDED:
            yield from self.ask(Request("DELETE", f"/v1/jobs/{job_id}"))
            document = yield from self.get(f"/v1/jobs/{job_id}")
        return dict(document)

    def delete(self, job_id: str) -> Flow[None]:
        """Delete a job. The first request cancels it if it is active, and the second one removes it."""
        try:
            for _ in range(2):
                yield from self.ask(Request("DELETE", f"/v1/jobs/{job_id}"))
        except RefusedError as refusal:
            if refusal.status != 404:
                raise

    def _result(self, job: Mapping[str, Any], accept: str, query: str = "", **options: Any) -> Flow[Response]:
        path = f"/v1/jobs/{job['id']}/result{query}"
        request = Request("GET", path, {"Accept": accept}, seconds=_TRANSFER_SECONDS, **options)
        return (yield from self.ask(request))

    def _from_json(self, result: Mapping[str, Any], rows: Any) -> Flow[Explanation]:
        model = yield from self._model(result["model"])
        interactions = result.get("interactions")
        return Explanation(
            values=np.array(result["values"], dtype=np.float32),
            base_values=np.array(result["base_values"], dtype=np.float32),
            interactions=None if interactions is None else np.array(interactions, dtype=np.float32),
            pairs=result.get("pairs"),
            **_names(model, {**result, "id": result["job"]}),
            **read_data(rows, model),
        )

    def _model(self, version: str) -> Flow[Document]:
        """Return the document of a version, which never changes."""
        if version not in self._models:
            self._models[version] = yield from self.get(f"/v1/models/{quote(version)}")
        return self._models[version]


def new_key() -> str:
    """Return a new Idempotency-Key."""
    return f"shapbox-python-{secrets.token_hex(16)}"


def _names(model: Document, job: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "feature_names": list(model["features"]),
        "output_names": list(model["outputs"]),
        "model": job["model"],
        "method": job["method"],
        "job_id": job["id"],
    }


def _retry_after(answer: Response, otherwise: float) -> float:
    with contextlib.suppress(ValueError):  # a proxy may send a date
        return max(0.0, float(answer.headers.get("retry-after", otherwise)))
    return otherwise
