"""The blocking client."""

from __future__ import annotations

import functools
import inspect
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import httpx

from shapbox.errors import NoAnswerError
from shapbox.exchange import Address, Download, Request, Response
from shapbox.flows import Flows
from shapbox.job import JobFlows, JobState
from shapbox.progress import Progress
from shapbox.repeats import Flow, Pause

F = TypeVar("F")
P = ParamSpec("P")
T = TypeVar("T")


class Connection:
    """Runs flows over HTTP."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._http = httpx.Client(**address.http_options)
        self.close = weakref.finalize(self, self._http.close)

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
            answer = self._http.send(self._address.prepare(step), stream=True)
            try:
                download = Download(step, answer)
                for chunk in answer.iter_raw():
                    download.write(chunk)
            finally:
                answer.close()
        except httpx.TransportError as fault:
            return self._address.no_answer(step, fault)
        return download.response()


class _Runs(Protocol[F]):
    flows: F
    connection: Connection


def _blocking(method: Callable[Concatenate[F, P], Flow[T]]) -> Callable[Concatenate[_Runs[F], P], T]:
    """Return a method with the same parameters that runs the flow and returns its value."""

    @functools.wraps(method)
    def call(one: _Runs[F], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return one.connection.run(method(one.flows, *args, **kwargs))

    shown = inspect.signature(method).replace(
        return_annotation=inspect.Signature.empty
    )  # which names the flow
    call.__signature__ = shown  # type: ignore[attr-defined]  # what `help` shows
    return call


class Shapbox:
    """An appliance. Safe to use from several threads.

    `url` defaults to SHAPBOX_URL, and `key` to SHAPBOX_API_KEY; an empty key sends none. A request that gets no response, or
    429, 503 or 507, is repeated for `patience` seconds, as Retry-After says.
    """

    def __init__(self, url: str | None = None, key: str | None = None, *, patience: float = 120.0) -> None:
        address = Address(url, key)
        self.url = address.url
        self.connection = Connection(address)
        self.close = self.connection.close
        self.flows = Flows(address, patience, functools.partial(Job, self.connection))

    models = _blocking(Flows["Job"].models)
    explain = _blocking(Flows["Job"].explain)
    submit = _blocking(Flows["Job"].submit)
    job = _blocking(Flows["Job"].job)
    call = _blocking(Flows["Job"].call)

    def jobs(self, status: str | None = None) -> Iterator[Job]:
        """List jobs, newest first, page after page."""
        path: str | None = ""
        while path is not None:
            page, path = self.connection.run(self.flows.page(path, status))
            yield from page

    def __enter__(self) -> Shapbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Job(JobState):
    """A job of an appliance. `document` is what was last heard of it."""

    def __init__(self, connection: Connection, flows: JobFlows) -> None:
        self.connection = connection
        self.flows = flows

    def wait(self, *, progress: Progress = False, seconds: float | None = None) -> Job:
        """Wait until the job has ended, in any way. Raises TimeoutError after `seconds`.

        `progress` is True for a bar, or a function that gets the completed batches and their total.
        """
        self.connection.run(self.flows.follow(progress=progress, seconds=seconds))
        return self

    result = _blocking(JobFlows.result)
    fetch = _blocking(JobFlows.fetch)
    save = _blocking(JobFlows.save)
    cancel = _blocking(JobFlows.cancel)
    delete = _blocking(JobFlows.delete)
