"""Bulk work that runs beside the small requests that are measured: a huge job of ours, or large requests to a peer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops.bench.services import JSON, NPY, Service
from ops.bench.wire import Wire, WireError
from ops.http_call import call
from ops.trial_appliance import NO_ANSWER

#: Rows of a peer's bulk requests, and the connections that send them.
BULK_ROWS, BULK_CLIENTS = 1_000, 4
#: Seconds between two looks at the huge job, and until it must have begun or a thread must have ended.
LOOK_SECONDS, BEGIN_SECONDS, END_SECONDS = 0.2, 60.0, 120.0

type Matrix = NDArray[np.float32]


@contextmanager
def huge_job(url: str, headers: Mapping[str, str], path: str, body: bytes) -> Iterator[None]:
    """Keep a huge job running at ours, one after the other; it has begun when the block does, and is gone after it."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            sent = call(f"{url}{path}", "POST", {**headers, "Content-Type": NPY}, body, END_SECONDS)
            job = sent.headers.get("location", "")
            if sent.status != 202:
                raise WireError(f"the huge job was answered with {sent.status}: {sent.body[:200]!r}")
            while not stop.is_set() and _status(url + job, headers) in {"queued", "running"}:
                stop.wait(LOOK_SECONDS)
            call(url + job, "DELETE", headers, seconds=END_SECONDS)

    with _threads(work, stop):
        deadline = time.monotonic() + BEGIN_SECONDS
        while not _json(f"{url}/v1/jobs?status=running&limit=1", headers)["jobs"]:
            if time.monotonic() > deadline:
                raise WireError("the huge job did not begin")
            time.sleep(LOOK_SECONDS / 10)
        yield


@contextmanager
def bulk_requests(peer: Service, rows: Matrix) -> Iterator[None]:
    """Keep a peer as busy: it has no jobs, so several clients send it large requests one after the other."""
    kind = NPY if NPY in peer.kinds else JSON
    body = peer.request(kind, rows[:BULK_ROWS])
    stop, begun = threading.Event(), threading.Barrier(BULK_CLIENTS + 1)

    def work() -> None:
        with Wire(peer.port) as wire:
            begun.wait(BEGIN_SECONDS)
            while not stop.is_set():
                wire.ask(body)

    with _threads(work, stop, BULK_CLIENTS):
        begun.wait(BEGIN_SECONDS)
        yield


def _json(url: str, headers: Mapping[str, str]) -> Any:
    return call(url, headers=headers).json()


def _status(url: str, headers: Mapping[str, str]) -> str:
    return str(_json(url, headers)["status"])


@contextmanager
def _threads(work: Callable[[], None], stop: threading.Event, count: int = 1) -> Iterator[None]:
    """Let threads work until the block ends; raise the first fault that one of them met."""
    faults: list[Exception] = []

    def guarded() -> None:
        try:
            work()
        except (*NO_ANSWER, WireError) as fault:
            faults.append(fault)

    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(END_SECONDS)
    if faults:
        raise faults[0]
