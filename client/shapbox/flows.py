"""The steps of a client as generators, which do no I/O themselves.

They yield requests and pauses, and are sent responses. The blocking and the asynchronous client run the same
generators: each of their methods has the parameters and the docstring of the one here or in job.py.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import numpy as np

from shapbox.data import data_of
from shapbox.errors import NoAnswerError
from shapbox.exchange import Address, Body, Request, Response
from shapbox.explanation import Explanation
from shapbox.job import TRANSFER_SECONDS, Document, JobFlows
from shapbox.progress import Progress, showing
from shapbox.repeats import Flow, Repeats
from shapbox.rows import body_of, known

J = TypeVar("J")

#: Bytes of a body up to which rows may be explained at once, without a job.
_INLINE_BYTES = 256 * 1024
#: Jobs on a page of the list.
_PAGE = 100
_JSON = "application/json"


class Flows(Generic[J]):
    """The calls of a client. A request is repeated for `patience` seconds."""

    def __init__(self, address: Address, patience: float, make_job: Callable[[JobFlows], J]) -> None:
        self._address = address
        self.patience = patience
        self._make_job = make_job
        self._models: dict[str, Document] = {}

    def ask(self, request: Request, until: float = math.inf) -> Flow[Response]:
        """Send a request that may be repeated; see Repeats for its errors."""
        return (yield from Repeats(self.patience, until).ask(request))

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 30.0,
    ) -> Flow[Response]:
        """Make one bare call: no repetition, and no exception for a status. Raises NoAnswerError."""
        sent = {"Connection": "close", **(headers or {})}
        content = None
        if body is not None:
            chunks, length = ([body], len(body)) if isinstance(body, bytes) else (body, None)
            content = Body(None, lambda: chunks, length)
        answer: Response | NoAnswerError = yield Request(method, path, sent, content, seconds)
        if isinstance(answer, NoAnswerError):
            raise answer
        return answer

    def get(self, path: str) -> Flow[Any]:
        """Return the document at a path."""
        return (yield from self.ask(Request("GET", path, {"Accept": _JSON}))).json()

    def models(self) -> Flow[list[Document]]:
        """List all versions of all models."""
        return list((yield from self.get("/v1/models"))["models"])

    def model(self, version: str) -> Flow[Document]:
        """Return the document of a version, which never changes."""
        if version not in self._models:
            self._models[version] = yield from self.get(f"/v1/models/{quote(version)}")
        return self._models[version]

    def page(self, path: str, status: str | None) -> Flow[tuple[list[J], str | None]]:
        """Return the jobs of a page, and the path of the next page.

        An empty `path` means the first page.
        """
        query = {"limit": _PAGE} if status is None else {"limit": _PAGE, "status": status}
        page = yield from self.get(path or f"/v1/jobs?{urlencode(query)}")
        following = None if page["next"] is None else self._address.own_path(page["next"])
        return [self._make_job(JobFlows(self, document)) for document in page["jobs"]], following

    def job(self, job_id: str) -> Flow[J]:
        """Return a job by its id."""
        return self._make_job(JobFlows(self, (yield from self.get(f"/v1/jobs/{quote(job_id)}"))))

    def explain(
        self,
        rows: Any,
        model: str | None = None,
        method: str | None = None,
        *,
        interactions: bool = False,
        top_pairs: int | None = None,
        progress: Progress = False,
    ) -> Flow[Explanation]:
        """Explain rows, and wait for the values.

        `rows` is a DataFrame, an array (with codes for categories), a list of rows, a dict, or the path of a CSV, NPY,
        NDJSON or Parquet file. `model` is NAME or NAME@VERSION. Raises RowsError, RefusedError and NoAnswerError.
        """
        rows = known(rows)
        body, query = body_of(rows), _query(model, method, top_pairs, interactions=interactions)
        if body.length is None or body.length > _INLINE_BYTES:
            job = yield from self._submit(rows, body, query, None, progress=False)
        else:
            # Without an Idempotency-Key: repeating a computation is harmless, and for a key the appliance keeps a job.
            request = Request("POST", f"/v1/explain{query}", {"Accept": _JSON}, body, TRANSFER_SECONDS)
            answer = yield from self.ask(request)
            if answer.status == 200:
                return (yield from self.explanation_in(answer.json(), rows))
            job = JobFlows(self, answer.json(), rows)
        yield from job.follow(progress=progress)
        return (yield from job.result())

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
    ) -> Flow[J]:
        """Submit rows as a job; see `explain`. `progress` shows the bytes that are sent.

        Give an `idempotency_key` of your own to get the same job again after your program has restarted.
        """
        query = _query(model, method, top_pairs, interactions=interactions)
        body = body_of(known(rows))
        return self._make_job(
            (yield from self._submit(rows, body, query, idempotency_key, progress=progress))
        )

    def _submit(
        self, rows: Any, body: Body, query: str, key: str | None, *, progress: Progress
    ) -> Flow[JobFlows]:
        headers = {"Accept": _JSON, "Idempotency-Key": key or f"shapbox-python-{secrets.token_hex(16)}"}
        with showing(progress, "sending") as show:
            request = Request("POST", f"/v1/jobs{query}", headers, body, TRANSFER_SECONDS, show=show)
            return JobFlows(self, (yield from self.ask(request)).json(), rows)

    def explanation_in(self, result: Mapping[str, Any], rows: Any) -> Flow[Explanation]:
        """Return the explanation in a result as JSON."""
        interactions = result.get("interactions")
        return (
            yield from self.explanation(
                result,
                rows,
                job_id=result["job"],
                values=np.array(result["values"], dtype=np.float32),
                base_values=np.array(result["base_values"], dtype=np.float32),
                interactions=None if interactions is None else np.array(interactions, dtype=np.float32),
                pairs=result.get("pairs"),
            )
        )

    def explanation(self, source: Mapping[str, Any], rows: Any, **members: Any) -> Flow[Explanation]:
        """Return an explanation with these members and what belongs to them: names and rows.

        `source` names the model's version and the method.
        """
        model = yield from self.model(source["model"])
        return Explanation(
            feature_names=list(model["features"]),
            output_names=list(model["outputs"]),
            model=source["model"],
            method=source["method"],
            **members,
            **data_of(rows, model, len(members["values"])),
        )


def _query(model: str | None, method: str | None, top_pairs: int | None, *, interactions: bool) -> str:
    """Return the query of a request with rows."""
    given = {"model": model, "method": method, "interactions": "true" if interactions else None}
    given["top_pairs"] = None if top_pairs is None else str(top_pairs)
    return "?" + urlencode({name: value for name, value in given.items() if value is not None})
