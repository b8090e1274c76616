"""The service part: latency, bulk work and memory of Shapbox and its peers.

All are measured over HTTP in one run.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ops.lab.bench.libraries import bare_xgboost
from ops.lab.bench.models import QUICK_SHAPE, Matrix, Shape
from ops.lab.bench.report import Effort, Report, Say, listed, short, spread
from ops.lab.bench.services import (
    BULK_CLIENTS,
    BULK_ROWS,
    CSV,
    JSON,
    NPY,
    OURS,
    Service,
    bulk_work,
    running_shapbox,
    send_jobs,
    send_requests,
    services,
)
from ops.lab.bench.wire import Wire
from ops.lab.memory import peak_of
from ops.lab.reference import EXACT, distance, reference_contributions

#: Requests of a service one after the other, before it is the next one's turn: of one row, and of more.
BLOCK, LARGE_BLOCK = 25, 5
#: Requests before any is counted.
WARM_UP = 50
#: XGBoost's `pred_contribs` in two processes, with the rows in memory: no HTTP, no queue, no store.
BARE = "bare XGBoost"
#: Rows whose values are compared with XGBoost's.
COMPARED = 200
#: The unit of which more is better.
RATE = "rows/s"


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds, requests of one row and of 500 in each, and numbers of rows."""

    shape: Shape
    rounds: int
    requests: int
    large_requests: int
    huge_rows: int
    bulk_rows: int
    peer_rows: int
    bare_rows: int
    bulk_rounds: int


USUAL = Plan(Shape(6, 100, 30), 5, 200, 20, 1_000_000, 100_000, 20_000, 10_000, 3)
QUICK = Plan(QUICK_SHAPE, 1, 3, 2, 2_000, 1_000, 500, 500, 1)


def measure_service(effort: Effort) -> Report:
    """Measure; the order keeps what is heavy behind what is to be quiet."""
    plan = QUICK if effort.quick else USUAL
    rows = np.random.default_rng(7).standard_normal((plan.bulk_rows, plan.shape.features), dtype=np.float32)
    effort.say("starting the services")
    with running_shapbox(plan.shape) as (appliance, version), services(effort, appliance, version) as running:
        measured = Measured(plan, effort.say)
        measured.latency(running, rows[:1], JSON, "idle")
        for kind in (NPY, CSV, JSON):
            measured.latency(running, rows[:500], kind, "idle")
        huge = np.resize(rows, (plan.huge_rows, plan.shape.features))
        with bulk_work(send_jobs, appliance.url, appliance.api_key, version.id, huge):
            measured.latency(running, rows[:1], JSON, f"beside a job of {plan.huge_rows:,} rows at {OURS}")
        for peer in running[1:]:
            request = peer.request(NPY if NPY in peer.kinds else JSON, rows[:BULK_ROWS])
            with ExitStack() as clients:
                for _ in range(BULK_CLIENTS):
                    clients.enter_context(bulk_work(send_requests, peer.name, peer.port, request))
                measured.latency([peer], rows[:1], JSON, "beside bulk requests of its own")
        measured.bulk(running, rows, version.model_path)
    return measured.report()


@dataclass(slots=True)
class Measured:
    """Figures of each round, and wrong values.

    The keys of `rounds` are the measured thing with its unit, then the service.
    """

    plan: Plan
    say: Say
    rounds: dict[tuple[str, str], dict[str, list[float]]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def latency(self, running: Sequence[Service], rows: Matrix, kind: str, where: str) -> None:
        """Send each service that takes this kind some requests a round, in alternating blocks."""
        what = f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'} as {kind}, {where}"
        self.say(what)
        few = len(rows) > 1 or running[0].name != OURS
        requests, block = (self.plan.large_requests, LARGE_BLOCK) if few else (self.plan.requests, BLOCK)
        asked = [service for service in running if kind in service.kinds]
        bodies = [service.request(kind, rows) for service in asked]
        with ExitStack() as stack:
            wires = [stack.enter_context(Wire(service.name, service.port)) for service in asked]
            for wire, body in zip(wires, bodies, strict=True):
                _seconds(wire, body, min(WARM_UP, requests))
            for _ in range(self.plan.rounds):
                taken: dict[str, list[float]] = {service.name: [] for service in asked}
                for begun in range(0, requests, block):
                    for service, wire, body in zip(asked, wires, bodies, strict=True):
                        taken[service.name] += _seconds(wire, body, min(block, requests - begun))
                for name, seconds in taken.items():
                    for percent in (50, 99):
                        self._note(
                            f"{what}, p{percent}", "ms", name, float(np.percentile(seconds, percent)) * 1e3
                        )

    def bulk(self, running: Sequence[Service], rows: Matrix, model: Path) -> None:
        """Let all of them explain many rows in turn, round by round, and compare the first values."""
        wanted = reference_contributions(model, rows[:COMPARED])[:, 0, :-1]
        with bare_xgboost(model, rows[: self.plan.bare_rows]) as bare:
            for service in running:
                self._note("all processes before many rows", "MB", service.name, service.memory() / 1e6)
            for number, kind in itertools.product(range(self.plan.bulk_rounds), (NPY, CSV, JSON)):
                self.say(f"many rows as {kind}, round {number + 1} of {self.plan.bulk_rounds}")
                with self._watched(kind, BARE, self.plan.bare_rows, bare.memory):
                    bare.explain()
                for service in running:
                    if kind in service.kinds:
                        some = rows if service.name == OURS else rows[: self.plan.peer_rows]
                        values = self._explain(service, kind, some)[:COMPARED]
                        if not (apart := distance(values, wanted)) <= EXACT:
                            self.wrong.append(f"{service.name}, {kind}: {apart:.1e} apart")

    def _explain(self, service: Service, kind: str, rows: Matrix) -> Matrix:
        """Send ours all rows at once; and peers pieces, since one request uses one core of theirs."""
        pieces = [rows] if service.name == OURS else np.split(rows, range(BULK_ROWS, len(rows), BULK_ROWS))
        bodies = [service.request(kind, piece) for piece in pieces]

        def ask(client: int) -> list[bytes]:
            with Wire(service.name, service.port) as wire:
                return [wire.ask(body) for body in bodies[client::BULK_CLIENTS]]

        with self._watched(kind, service.name, len(rows), service.memory), ThreadPoolExecutor() as pool:
            answers = list(pool.map(ask, range(min(BULK_CLIENTS, len(bodies)))))
        return service.values(kind, answers[0][0])

    @contextmanager
    def _watched(self, kind: str, service: str, rows: int, memory: Callable[[], int]) -> Iterator[None]:
        """Note the rows a second of the block, and the most memory meanwhile."""
        began = time.perf_counter()
        with peak_of(memory) as peak:
            yield
            self._note(f"many rows as {kind}", RATE, service, rows / (time.perf_counter() - began))
        self._note(f"many rows as {kind}, peak memory", "MB", service, max(peak.highest, memory()) / 1e6)

    def _note(self, what: str, unit: str, service: str, figure: float) -> None:
        self.rounds.setdefault((what, unit), {}).setdefault(service, []).append(figure)

    def report(self) -> Report:
        """Return the table, and where a peer is ahead of ours."""
        names = list(dict.fromkeys(name for found in self.rounds.values() for name in found))
        lines, summary, ahead = [], [], []
        for (what, unit), found in self.rounds.items():
            lines.append(
                [f"{what}, {unit}", *(_cell(found[name]) if name in found else "" for name in names)]
            )
            medians = {name: float(np.median(rounds)) for name, rounds in found.items()}
            if OURS not in medians:
                continue
            own = medians.pop(OURS)
            others = ", ".join(f"{name} {short(median)}" for name, median in medians.items())
            summary.append([f"{what}, {unit}", short(own), others])
            for name, median in medians.items():
                if name != BARE and (median > own if unit == RATE else median < own):
                    ahead.append(f"{name}, {what}: {short(median)} to {short(own)} {unit}")
        said = listed("Where a peer is ahead:", ahead, f"No peer is ahead of {OURS} in this table.")
        return Report(["measured", *names], lines, summary, said, self.wrong)


def _cell(rounds: Sequence[float]) -> str:
    return spread(float(np.median(rounds)), min(rounds), max(rounds))


def _seconds(wire: Wire, body: bytes, requests: int) -> list[float]:
    seconds = []
    wire.renew()
    for _ in range(requests):
        began = time.perf_counter()
        wire.ask(body)
        seconds.append(time.perf_counter() - began)
    return seconds
