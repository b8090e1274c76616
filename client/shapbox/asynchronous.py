"""The asynchronous client: the same as the blocking one, with `await`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import httpx

from shapbox.errors import NoAnswerError
from shapbox.exchange import Address, Download, Request, Response, bare
from shapbox.explanation import Explanation
from shapbox.flows import Document, Flow, Flows, Options, Pause, new_key
from shapbox.job import JobState, jobs_path
from shapbox.progress import Progress, showing
from shapbox.rows import body_of, known, media_type_of

T = TypeVar("T")


class AsyncRun(Protocol):
    """Does what a flow yields, until it returns."""

    async def __call__(self, flow: Flow[T]) -> T:
        """Return the flow's value."""


class AsyncShapbox:
    """An appliance, for asyncio; see Shapbox. Use it as `async with AsyncShapbox(url, key) as box`."""

    def __init__(self, url: str | None = None, key: str | None = None, *, patience: float = 120.0) -> None:
        self._address = Address(url, key)
        self._flows = Flows(patience)
        self._http = httpx.AsyncClient(**self._address.http_options)

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 30.0,
    ) -> Response:
        """See Shapbox.call."""
        return await self._send(bare(method, path, body, headers, seconds))

    async def models(self) -> list[Document]:
        """See Shapbox.models."""
        return await self._run(self._flows.models())

    async def jobs(self, status: str | None = None) -> AsyncIterator[AsyncJob]:
        """See Shapbox.jobs."""
        path: str | None = jobs_path(status)
        while path:
            page = await self._run(self._flows.get(path))
            for document in page["jobs"]:
                yield AsyncJob(self._run, self._flows, document)
            path = page["next"]

    async def job(self, job_id: str) -> AsyncJob:
        """See Shapbox.job."""
        return AsyncJob(self._run, self._flows, await self._run(self._flows.get(f"/v1/jobs/{job_id}")))

    async def explain(
        self,
        rows: Any,
        model: str | None = None,
        method: str | None = None,
        *,
        interactions: bool = False,
        top_pairs: int | None = None,
        progress: Progress = False,
    ) -> Explanation:
        """See Shapbox.explain."""
        rows, options = known(rows), Options(model, method, interactions, top_pairs)
        with showing(progress, "explaining") as show:
            return await self._run(self._flows.explain(rows, body_of(rows), options, show))

    async def submit(
        self,
        rows: Any,
        model: str | None = None,
        method: str | None = None,
        *,
        interactions: bool = False,
        top_pairs: int | None = None,
        idempotency_key: str | None = None,
        progress: Progress = False,
    ) -> AsyncJob:
        """See Shapbox.submit."""
        rows, options = known(rows), Options(model, method, interactions, top_pairs)
        with showing(progress, "sending") as show:
            key = idempotency_key or new_key()
            document = await self._run(self._flows.submit(body_of(rows), options, key, show))
        return AsyncJob(self._run, self._flows, document, rows)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncShapbox:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = flow.send(None)
                    continue
                try:
                    answer = await self._send(step)
                except NoAnswerError as fault:
                    step = flow.throw(fault)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a flow's value has its type
        finally:
            flow.close()

    async def _send(self, request: Request) -> Response:
        try:
            answer = await self._http.send(self._address.prepare(request), stream=True)
            try:
                download = Download(request, answer)
                async for chunk in answer.aiter_raw():
                    download.write(chunk)
            finally:
                await answer.aclose()
        except httpx.TransportError as fault:
            raise self._address.no_answer(request, fault) from fault
        return download.response()


class AsyncJob(JobState):
    """A job of an appliance, for asyncio; see Job."""

    def __init__(self, run: AsyncRun, flows: Flows, document: Document, rows: Any = None) -> None:
        super().__init__(flows, document, rows)
        self._run = run

    async def wait(self, *, progress: Progress = False, seconds: float | None = None) -> AsyncJob:
        """See Job.wait."""
        with showing(progress, "explaining") as show:
            self.document = await self._run(self._flows.follow(self.document, show, seconds))
        return self

    async def result(self) -> Explanation:
        """See Job.result."""
        await self.wait()
        return await self._run(self._flows.result(self.document, self._rows))

    async def fetch(self, media_type: str) -> bytes:
        """See Job.fetch."""
        await self.wait()
        return await self._run(self._flows.fetch(self.document, media_type))

    async def save(
        self, path: str | Path, media_type: str | None = None, *, progress: Progress = False
    ) -> None:
        """See Job.save."""
        path = Path(path)
        await self.wait()
        with showing(progress, "saving") as show:
            flow = self._flows.save(self.document, path, media_type or media_type_of(path), show)
            await self._run(flow)

    async def cancel(self) -> None:
        """See Job.cancel."""
        self.document = await self._run(self._flows.cancel(self.id))

    async def delete(self) -> None:
        """See Job.delete."""
        await self._run(self._flows.delete(self.id))
