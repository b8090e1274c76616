"""The service part: latency, bulk work and memory of Shapbox and its peers over HTTP."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

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
    services,
)
from ops.lab.memory import peak_of
from ops.lab.reference import EXACT, distance, reference_contributions

#: Requests of a service one after the other, before it is the next one's turn: of one row, and of more.
BLOCK, LARGE_BLOCK = 25, 5
#: Requests before any is counted, and on each new connection.
WARM_UP, FIRST = 50, 1
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
    bulk_rows: int
    peer_rows: int
    bulk_rounds: int


USUAL = Plan(Shape(6, 100, 30), 5, 200, 20, 100_000, 20_000, 3)
QUICK = Plan(QUICK_SHAPE, 1, 3, 2, 1_000, 500, 1)


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
        for service in running:
            with bulk_work(service, rows[:BULK_ROWS]):
                measured.latency([service], rows[:1], JSON, "beside bulk requests of its own")
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
        few = len(rows) > 1 or len(running) == 1
        requests, block = (self.plan.large_requests, LARGE_BLOCK) if few else (self.plan.requests, BLOCK)
        asked = {
            service.name: (service, service.write(kind, rows)) for service in running if kind in service.kinds
        }
        for service, body in asked.values():
            _seconds(service, kind, body, min(WARM_UP, requests))
        for _ in range(self.plan.rounds):
            taken: dict[str, list[float]] = {name: [] for name in asked}
            for begun in range(0, requests, block):
                for name, (service, body) in asked.items():
                    taken[name] += _seconds(service, kind, body, min(block, requests - begun))
            for name, percent in itertools.product(asked, (50, 99)):
                milliseconds = float(np.percentile(taken[name], percent)) * 1e3
                self._note(f"{what}, p{percent}", "ms", name, milliseconds)

    def bulk(self, running: Sequence[Service], rows: Matrix, model: Path) -> None:
        """Let all of them explain many rows in turn, round by round, and compare the first values."""
        wanted = reference_contributions(model, rows[:COMPARED])[:, 0, :-1]
        for service in running:
            self._note("all processes before many rows", "MB", service.name, service.memory() / 1e6)
        for number, kind in itertools.product(range(self.plan.bulk_rounds), (NPY, CSV, JSON)):
            self.say(f"many rows as {kind}, round {number + 1} of {self.plan.bulk_rounds}")
            for service in running:
                if kind in service.kinds:
                    some = rows if service.name == OURS else rows[: self.plan.peer_rows]
                    values = self._explain(service, kind, some)[:COMPARED]
                    if not (apart := distance(values, wanted, base=False)) <= EXACT:
                        self.wrong.append(f"{service.name}, {kind}: {apart:.1e} apart")

    def _explain(self, service: Service, kind: str, rows: Matrix) -> Matrix:
        """Send ours all rows at once; and peers pieces, since one request uses one core of theirs."""
        pieces = [rows] if service.name == OURS else np.split(rows, range(BULK_ROWS, len(rows), BULK_ROWS))
        bodies = [service.write(kind, piece) for piece in pieces]

        def ask(client: int) -> list[bytes]:
            with closing(service.connect()) as connection:
                return [service.ask(connection, kind, body) for body in bodies[client::BULK_CLIENTS]]

        began = time.perf_counter()
        with peak_of(service.memory) as peak, ThreadPoolExecutor() as pool:
            answers = list(pool.map(ask, range(min(BULK_CLIENTS, len(bodies)))))
        rate, highest = len(rows) / (time.perf_counter() - began), max(peak.highest, service.memory())
        self._note(f"many rows as {kind}", RATE, service.name, rate)
        self._note(f"many rows as {kind}, peak memory", "MB", service.name, highest / 1e6)
        return service.read(kind, answers[0][0])

    def _note(self, what: str, unit: str, service: str, figure: float) -> None:
        self.rounds.setdefault((what, unit), {}).setdefault(service, []).append(figure)

    def report(self) -> Report:
        """Return the table, and where a peer is ahead of ours."""
        names = list(dict.fromkeys(name for found in self.rounds.values() for name in found))
        lines, summary, ahead = [], [], []
        for (what, unit), found in self.rounds.items():
            medians = {name: float(np.median(rounds)) for name, rounds in found.items()}
            cells = {name: spread(medians[name], min(found[name]), max(found[name])) for name in found}
            lines.append([f"{what}, {unit}", *(cells.get(name, "") for name in names)])
            if OURS not in medians:
                continue
            own = medians.pop(OURS)
            others = ", ".join(f"{name} {short(median)}" for name, median in medians.items())
            summary.append([f"{what}, {unit}", short(own), others])
            ahead += [
                f"{name}, {what}: {short(median)} to {short(own)} {unit}"
                for name, median in medians.items()
                if (median > own if unit == RATE else median < own)
            ]
        said = listed("Where a peer is ahead:", ahead, f"No peer is ahead of {OURS} in this table.")
        return Report(["measured", *names], lines, summary, said, self.wrong)


def _seconds(service: Service, kind: str, body: bytes, requests: int) -> list[float]:
    """Return the seconds of so many requests on one connection, its first one not counted."""
    seconds = []
    with closing(service.connect()) as connection:
        for _ in range(FIRST + requests):
            began = time.perf_counter()
            service.ask(connection, kind, body)
            seconds.append(time.perf_counter() - began)
    return seconds[FIRST:]
