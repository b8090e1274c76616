"""The calls of a job, as generators; see flows.py."""

from __future__ import annotations

import io
import math
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from shapbox.errors import RefusedError
from shapbox.exchange import Request, Response
from shapbox.explanation import Explanation
from shapbox.progress import Progress, showing
from shapbox.repeats import Flow, Pause, retry_after
from shapbox.rows import media_type_of

if TYPE_CHECKING:
    from shapbox.flows import Flows

Document = dict[str, Any]

#: A job has ended in one of these states.
ENDED = frozenset({"completed", "failed", "cancelled"})
#: Seconds that one look at a job waits for its end, and with a progress display.
_WAIT, _WAIT_SHOWN = 30.0, 1.0
#: Seconds until a job is looked at again if the appliance did not wait, and does not say when.
_LOOK_SECONDS = 1.0
#: Seconds that the answer to a look may take longer than its wait, and if the caller's time is limited.
_ANSWER_SECONDS, _LIMITED_ANSWER_SECONDS = 30.0, 5.0
#: Seconds without a byte until a request with rows or a result counts as broken: the server reads all rows first.
TRANSFER_SECONDS = 600.0
_JSON, _NPY = "application/json", "application/x-npy"


class JobState:
    """A job as it was last heard of."""

    flows: JobFlows

    @property
    def document(self) -> Document:
        """The job's document."""
        return self.flows.document

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.document["id"])

    @property
    def status(self) -> str:
        """One of queued, running, completed, failed and cancelled."""
        return str(self.document["status"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.status}, {self.document['model']})"


class JobFlows:
    """The calls of a job. `document` is what was last heard of it."""

    def __init__(self, box: Flows[Any], document: Mapping[str, Any], rows: Any = None) -> None:
        self._box = box
        self._rows = rows
        self.document: Document = dict(document)
        self._path = f"/v1/jobs/{quote(self.document['id'])}"

    @property
    def ended(self) -> bool:
        """Whether it had ended when it was last heard of."""
        return self.document["status"] in ENDED

    def follow(self, *, progress: Progress = False, seconds: float | None = None) -> Flow[None]:
        """Wait until the job has ended, in any way. Raises TimeoutError after `seconds`.

        `progress` is True for a bar, or a function that gets the completed batches and their total.
        """
        until = math.inf if seconds is None else time.monotonic() + seconds
        with showing(progress, "explaining") as show:
            while True:
                show(self.document["batches"]["completed"], self.document["batches"]["total"])
                if self.ended:
                    return
                begun = time.monotonic()
                wait = max(0.0, min(_WAIT_SHOWN if progress else _WAIT, until - begun))
                answer = yield from self._look(wait, until)
                now = time.monotonic()
                if now >= until and not self.ended:
                    raise TimeoutError(
                        f"Job {self.document['id']} is {self.document['status']} after {seconds} s."
                    )
                if now - begun < wait / 2 and not self.ended:
                    spread = random.uniform(1, 1.2)  # noqa: S311  # so that clients do not come all at once
                    yield Pause(min(retry_after(answer, _LOOK_SECONDS) * spread, until - now))

    def result(self) -> Flow[Explanation]:
        """Wait, and return the explanation. Raises RefusedError if the job failed or was cancelled."""
        yield from self.follow()
        if "top_pairs" in self.document:
            answer = yield from self._result(_JSON)
            return (yield from self._box.explanation_in(answer.json(), self._rows))
        array = yield from self._array("?interactions=false")
        matrices = (yield from self._array()) if "interactions" in self.document else None
        return (
            yield from self._box.explanation(
                self.document,
                self._rows,
                job_id=self.document["id"],
                values=array[..., :-1] if array.ndim == 2 else np.moveaxis(array[..., :-1], 1, -1),
                base_values=array[..., -1],
                interactions=_without_base_values(matrices),
            )
        )

    def fetch(self, media_type: str) -> Flow[bytes]:
        """Wait, and return the result in a media type of the REST API, such as text/csv."""
        yield from self.follow()
        return (yield from self._result(media_type)).body

    def save(self, path: str | Path, *, progress: Progress = False, csv_safe: bool = True) -> Flow[None]:
        """Wait, and write the result to a CSV, NPY or NDJSON file without holding it in memory.

        The file appears when it is complete. In CSV, names that a spreadsheet would take for formulas get an apostrophe in
        front; `csv_safe=False` leaves them as they are.
        """
        yield from self.follow()
        path = Path(path)
        media_type = media_type_of(path)
        part = path.with_name(f"{path.name}.part")
        try:
            with part.open("wb") as sink, showing(progress, "saving") as show:
                yield from self._result(
                    media_type, "" if csv_safe else "?csv_safe=false", sink=sink, show=show
                )
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def cancel(self) -> Flow[None]:
        """Cancel the job; one that has ended stays as it is."""
        try:
            yield from self._box.ask(Request("DELETE", f"{self._path}?cancel=true"))
        except RefusedError as refusal:
            if refusal.status != 409:
                raise
        yield from self._look()

    def delete(self) -> Flow[None]:
        """Delete the job, its rows and its values; an active job is cancelled first."""
        try:
            for _ in range(2):  # the first request cancels an active job, the second one removes it
                yield from self._box.ask(Request("DELETE", self._path))
        except RefusedError as refusal:
            if refusal.status != 404:
                raise

    def _look(self, wait: float = 0.0, until: float = math.inf) -> Flow[Response]:
        seconds = wait + (_ANSWER_SECONDS if until == math.inf else _LIMITED_ANSWER_SECONDS)
        request = Request("GET", f"{self._path}?wait={wait:.3f}", {"Accept": _JSON}, seconds=seconds)
        answer = yield from self._box.ask(request, until)
        self.document = dict(answer.json())
        return answer

    def _result(self, accept: str, query: str = "", **more: Any) -> Flow[Response]:
        headers, path = {"Accept": accept}, f"{self._path}/result{query}"
        return (yield from self._box.ask(Request("GET", path, headers, seconds=TRANSFER_SECONDS, **more)))

    def _array(self, query: str = "") -> Flow[Any]:
        answer = yield from self._result(_NPY, query)
        return np.load(io.BytesIO(answer.body), allow_pickle=False)


def _without_base_values(matrices: Any) -> Any:
    """Return rows x features x features (x outputs)."""
    if matrices is None or matrices.ndim == 3:
        return None if matrices is None else matrices[..., :-1, :-1]
    return np.moveaxis(matrices[..., :-1, :-1], 1, -1)
