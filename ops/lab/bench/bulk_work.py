"""Bulk work next to the measured small requests: a huge job, or large requests to peers."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops.http_call import call
from ops.lab.bench.services import JSON, NPY, Service
from ops.lab.bench.wire import Wire, WireError
from ops.lab.trial_appliance import NO_ANSWER

#: Rows of a peer's bulk requests, and the connections that send them.
BULK_ROWS, BULK_CLIENTS = 1_000, 4
#: Seconds between two looks at the huge job, and until it must have begun or its client must have ended.
LOOK_SECONDS, BEGIN_SECONDS, END_SECONDS = 0.2, 60.0, 120.0

type Matrix = NDArray[np.float32]

#: The clients of bulk work have a process of their own: in that of the one who measures, Python would have them take turns.
_SPAWN = multiprocessing.get_context("spawn")


@contextmanager
def huge_job(url: str, headers: Mapping[str, str], path: str, body: bytes) -> Iterator[None]:
    """Keep huge jobs running at ours, from the beginning of the block to its end."""
    with tempfile.NamedTemporaryFile(prefix="shapbox-bench-") as file:
        file.write(body)
        file.flush()
        with _client(_send_jobs, url, dict(headers), path, Path(file.name)) as _:
            deadline = time.monotonic() + BEGIN_SECONDS
            while not _json(f"{url}/v1/jobs?status=running&limit=1", headers)["jobs"]:
                if time.monotonic() > deadline:
                    raise WireError("the huge job did not begin")
                time.sleep(LOOK_SECONDS / 10)
            yield


def _send_jobs(
    stop: Event, _begun: Barrier, url: str, headers: dict[str, str], path: str, file: Path
) -> None:
    body = file.read_bytes()
    while not stop.is_set():
        sent = call(f"{url}{path}", "POST", {**headers, "Content-Type": NPY}, body, END_SECONDS)
        job = sent.headers.get("location", "")
        if sent.status != 202:
            raise WireError(f"the huge job was answered with {sent.status}: {sent.body[:200]!r}")
        while not stop.is_set() and _status(url + job, headers) in {"queued", "running"}:
            stop.wait(LOOK_SECONDS)
        call(url + job, "DELETE", headers, seconds=END_SECONDS)


@contextmanager
def bulk_requests(peer: Service, rows: Matrix) -> Iterator[None]:
    """Keep a peer as busy: several clients send it large requests, because it has no jobs."""
    kind = NPY if NPY in peer.kinds else JSON
    with _client(_send_requests, peer.name, peer.port, peer.request(kind, rows[:BULK_ROWS])) as begun:
        begun.wait(BEGIN_SECONDS)
        yield


def _send_requests(stop: Event, begun: Barrier, name: str, port: int, body: bytes) -> None:
    def work() -> None:
        with Wire(name, port) as wire:
            while not stop.is_set():
                wire.ask(body)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(BULK_CLIENTS)]
    for thread in threads:
        thread.start()
    begun.wait(BEGIN_SECONDS)
    for thread in threads:
        thread.join()
    if not stop.is_set():
        raise WireError("the peer has ended its bulk requests")


def _json(url: str, headers: Mapping[str, str]) -> Any:
    return call(url, headers=headers).json()


def _status(url: str, headers: Mapping[str, str]) -> str:
    return str(_json(url, headers)["status"])


@contextmanager
def _client(work: Callable[..., None], *given: Any) -> Iterator[Barrier]:
    """Let a process work until the block ends. Raises WireError if it failed."""
    stop, begun = _SPAWN.Event(), _SPAWN.Barrier(2)
    client = _SPAWN.Process(target=_guarded, args=(work, stop, begun, *given), daemon=True)
    client.start()
    try:
        yield begun
    finally:
        stop.set()
        client.join(END_SECONDS)
    if client.exitcode:
        raise WireError("the bulk work beside the measured requests failed: its client says why")


def _guarded(work: Callable[..., None], *given: Any) -> None:
    try:
        work(*given)
    except (*NO_ANSWER, WireError) as fault:
        sys.stderr.write(f"bench: {fault}\n")
        sys.exit(1)
