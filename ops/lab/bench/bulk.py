"""Many rows over HTTP: rows a second and peak memory of services and bare processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import psutil
from numpy.typing import NDArray

from ops.lab.bench.bare_processes import BareProcesses
from ops.lab.bench.peak_memory import peak_of
from ops.lab.bench.services import OURS, Service
from ops.lab.bench.wire import Wire
from ops.lab.reference import distance
from shared.memory import process_pss_bytes

#: Rows of a request to a peer, and connections: one request uses one core of theirs only, and what a sensible client
#: does about that is to cut.
PIECE, CLIENTS = 1_000, 4
#: The label of the bare processes.
BARE = "two bare XGBoost processes"
#: Rows whose values are compared with XGBoost's.
COMPARED = 200

type Matrix = NDArray[np.float32]


@dataclass(slots=True)
class Bulk:
    """One service and media type: rows a second of each round, memory, difference of values."""

    service: str
    kind: str
    rows: int
    idle_bytes: int
    rates: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    apart: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """The numbers of rows: one request to ours, several to each peer, the bare processes."""

    rows: Matrix
    peer_rows: int
    wanted: Matrix
    rounds: int


def measure_bulk(
    services: Sequence[Service], bare: BareProcesses, load: Load, say: Callable[[str], None]
) -> list[Bulk]:
    """Let all of them take turns, round by round."""
    found = [Bulk(BARE, "in memory", bare.rows, _bare_bytes())]
    runs: list[Callable[[], float]] = [bare.rows_a_second]
    memory: list[Callable[[], int]] = [_bare_bytes]
    for service in services:
        idle = service.pss_bytes()
        for kind in service.kinds:
            count = len(load.rows) if service.name == OURS else min(load.peer_rows, len(load.rows))
            found.append(Bulk(service.name, kind, count, idle))
            runs.append(_run(service, kind, load, found[-1]))
            memory.append(service.pss_bytes)
    for number in range(load.rounds):
        for bulk, run, its_memory in zip(found, runs, memory, strict=True):
            say(f"{bulk.service}, {bulk.kind}: {bulk.rows:,} rows, round {number + 1} of {load.rounds}")
            with peak_of(its_memory) as peak:
                bulk.rates.append(run())
            bulk.peak_bytes = max(bulk.peak_bytes, peak.highest)
    return found


def _run(service: Service, kind: str, load: Load, bulk: Bulk) -> Callable[[], float]:
    """Return what sends all rows once, checks the first values, and gives rows a second."""
    size = bulk.rows if service.name == OURS else min(PIECE, bulk.rows)
    pieces = [load.rows[begin : min(begin + size, bulk.rows)] for begin in range(0, bulk.rows, size)]
    bodies = [service.request(kind, piece) for piece in pieces]
    clients = min(CLIENTS, len(bodies))

    def run() -> float:
        with ThreadPoolExecutor(clients) as pool:
            began = time.perf_counter()
            answers = list(pool.map(lambda bodies: list(_ask_all(service, bodies)), _dealt(bodies, clients)))
            seconds = time.perf_counter() - began
        values = service.values(kind, answers[0][0], len(pieces[0]))[: len(load.wanted)]
        bulk.apart = max(bulk.apart, distance(values, load.wanted[: len(values)]))
        return bulk.rows / seconds

    return run


def _dealt(bodies: list[bytes], clients: int) -> list[list[bytes]]:
    return [bodies[client::clients] for client in range(clients)]


def _ask_all(service: Service, bodies: list[bytes]) -> Iterator[bytes]:
    with Wire(service.name, service.port) as wire:
        for body in bodies:
            yield wire.ask(body)


def _bare_bytes() -> int:
    """Return what this process's children take that multiprocessing has started."""
    found = 0
    for child in psutil.Process().children():
        if any("multiprocessing.spawn" in word for word in child.cmdline()):
            found += process_pss_bytes(child.pid)
    return found
