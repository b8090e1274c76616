"""Latency of requests: one connection, the services in turn, idle and next to bulk work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ops.lab.bench.services import Service
from ops.lab.bench.wire import Wire

#: Requests of a service one after the other, before it is the next one's turn: of one row, and of more.
BLOCK, LARGE_BLOCK = 25, 5
#: Requests before any is counted.
WARM_UP = 50

type Matrix = NDArray[np.float32]


@dataclass(slots=True)
class Latency:
    """One service's seconds for requests of one kind, round by round."""

    service: str
    kind: str
    rows: int
    beside: str
    rounds: list[list[float]] = field(default_factory=list)

    def percentile(self, percent: float) -> tuple[float, float, float]:
        """Return the median of the rounds' percentiles in ms, and the lowest and highest of them."""
        each = [float(np.percentile(one, percent)) * 1000 for one in self.rounds if one]
        return (float(np.median(each)), min(each), max(each)) if each else (np.nan, np.nan, np.nan)

    @property
    def requests(self) -> int:
        """How many were counted."""
        return sum(map(len, self.rounds))


def measure_latency(
    services: Sequence[Service], rows: Matrix, kind: str, rounds: int, requests: int, beside: str
) -> list[Latency]:
    """Send each service that takes this kind some requests a round, in alternating blocks."""
    block = BLOCK if len(rows) == 1 else LARGE_BLOCK
    asked = [service for service in services if kind in service.kinds]
    found = [Latency(service.name, kind, len(rows), beside) for service in asked]
    bodies = [service.request(kind, rows) for service in asked]
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(service.name, service.port)) for service in asked]
        for wire, body in zip(wires, bodies, strict=True):
            for _ in range(min(WARM_UP, requests)):
                wire.ask(body)
        for _ in range(rounds):
            for latency in found:
                latency.rounds.append([])
            for begun in range(0, requests, block):
                for latency, wire, body in zip(found, wires, bodies, strict=True):
                    latency.rounds[-1] += _block(wire, body, min(block, requests - begun))
    return found


def _block(wire: Wire, body: bytes, requests: int) -> list[float]:
    seconds = []
    wire.renew()
    for _ in range(requests):
        began = time.perf_counter()
        wire.ask(body)
        seconds.append(time.perf_counter() - began)
    return seconds
