"""The asynchronous client: the same as the blocking one, with `await`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

from shapbox.errors import NoAnswerError
from shapbox.exchange import Address, Download, Request, Response, bare
from shapbox.explanation import Explanation
from shapbox.flows import Document, Flow, Flows, JobState, Options, Pause
from shapbox.progress import Progress

T = TypeVar("T")


class AsyncShapbox:
    """An appliance, for asyncio; see Shapbox.

    Use it as `async with AsyncShapbox(url, key) as box`.
    """

    def __init__(self, url: str | None = None, key: str | None = None, *, patience: float = 120.0) -> None:
        self._address = Address(url, key)
        self.url = self._address.url
        self.flows = Flows(patience)
        self._http = httpx.AsyncClient(**self._address.http_options)
        self.close = self._http.aclose

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
        return await self.run(self.flows.models())

    async def jobs(self, status: str | None = None) -> AsyncIterator[AsyncJob]:
        """See Shapbox.jobs."""
        path: str | None = ""
        while path is not None:
            documents, path = await self.run(self.flows.page(path, status))
            for document in documents:
                yield AsyncJob(self, document)

    async def job(self, job_id: str) -> AsyncJob:
        """See Shapbox.job."""
        return AsyncJob(self, await self.run(self.flows.job(job_id)))

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
        options = Options(model, method, interactions, top_pairs)
        return await self.run(self.flows.explain(rows, options, progress))

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
        options = Options(model, method, interactions, top_pairs)
        document = await self.run(self.flows.submit(rows, options, idempotency_key, progress))
        return AsyncJob(self, document, rows)

    async def __aenter__(self) -> AsyncShapbox:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

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
            return await self._send(step)
        except NoAnswerError as fault:
            return fault

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

    def __init__(self, box: AsyncShapbox, document: Document, rows: Any = None) -> None:
        super().__init__(document)
        self._box = box
        self._rows = rows

    async def wait(self, *, progress: Progress = False, seconds: float | None = None) -> AsyncJob:
        """See Job.wait."""
        self.document = await self._box.run(self._box.flows.follow(self.document, progress, seconds))
        return self

    async def result(self) -> Explanation:
        """See Job.result."""
        await self.wait()
        return await self._box.run(self._box.flows.result(self.document, self._rows))

    async def fetch(self, media_type: str) -> bytes:
        """See Job.fetch."""
        await self.wait()
        return await self._box.run(self._box.flows.fetch(self.document, media_type))

    async def save(self, path: str | Path, *, progress: Progress = False) -> None:
        """See Job.save."""
        await self.wait()
        await self._box.run(self._box.flows.save(self.document, Path(path), progress))

    async def cancel(self) -> None:
        """See Job.cancel."""
        self.document = await self._box.run(self._box.flows.cancel(self.id))

    async def delete(self) -> None:
        """See Job.delete."""
        await self._box.run(self._box.flows.delete(self.id))
