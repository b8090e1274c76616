"""The asynchronous client: the same as the blocking one, with `await`."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

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
Awaited = Coroutine[Any, Any, T]


class AsyncConnection:
    """Runs flows over HTTP."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._http = httpx.AsyncClient(**address.http_options)
        self.close = self._http.aclose

    async def run(self, flow: Flow[T]) -> T:
        """Do what a flow yields, until it returns."""
        try:
            step = next(flow)
            while True:
                step = flow.send(await self._outcome(step))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a flow's value has its type
        finally:
            flow.close()

    async def _outcome(self, step: Request | Pause) -> Response | NoAnswerError | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            answer = await self._http.send(self._address.prepare(step), stream=True)
            try:
                download = Download(step, answer)
                async for chunk in answer.aiter_raw():
                    download.write(chunk)
            finally:
                await answer.aclose()
        except httpx.TransportError as fault:
            return self._address.no_answer(step, fault)
        return download.response()


class _Runs(Protocol[F]):
    flows: F
    connection: AsyncConnection


def _awaited(method: Callable[Concatenate[F, P], Flow[T]]) -> Callable[Concatenate[_Runs[F], P], Awaited[T]]:
    """Return a method with the same parameters that runs the flow and returns its value."""

    @functools.wraps(method)
    async def call(one: _Runs[F], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await one.connection.run(method(one.flows, *args, **kwargs))

    shown = inspect.signature(method).replace(
        return_annotation=inspect.Signature.empty
    )  # which names the flow
    call.__signature__ = shown  # type: ignore[attr-defined]  # what `help` shows
    return call


class AsyncShapbox:
    """An appliance, for asyncio; see Shapbox.

    Use it as `async with AsyncShapbox(url, key) as box`.
    """

    def __init__(self, url: str | None = None, key: str | None = None, *, patience: float = 120.0) -> None:
        address = Address(url, key)
        self.url = address.url
        self.connection = AsyncConnection(address)
        self.close = self.connection.close
        self.flows = Flows(address, patience, functools.partial(AsyncJob, self.connection))

    models = _awaited(Flows["AsyncJob"].models)
    explain = _awaited(Flows["AsyncJob"].explain)
    submit = _awaited(Flows["AsyncJob"].submit)
    job = _awaited(Flows["AsyncJob"].job)
    call = _awaited(Flows["AsyncJob"].call)

    async def jobs(self, status: str | None = None) -> AsyncIterator[AsyncJob]:
        """See Shapbox.jobs."""
        path: str | None = ""
        while path is not None:
            page, path = await self.connection.run(self.flows.page(path, status))
            for job in page:
                yield job

    async def __aenter__(self) -> AsyncShapbox:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncJob(JobState):
    """A job of an appliance, for asyncio; see Job."""

    def __init__(self, connection: AsyncConnection, flows: JobFlows) -> None:
        self.connection = connection
        self.flows = flows

    async def wait(self, *, progress: Progress = False, seconds: float | None = None) -> AsyncJob:
        """See Job.wait."""
        await self.connection.run(self.flows.follow(progress=progress, seconds=seconds))
        return self

    result = _awaited(JobFlows.result)
    fetch = _awaited(JobFlows.fetch)
    save = _awaited(JobFlows.save)
    cancel = _awaited(JobFlows.cancel)
    delete = _awaited(JobFlows.delete)
