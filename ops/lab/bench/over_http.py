"""The service part: latency, bulk work and memory of ours and its peers in one run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from ops.lab.bench.bare_processes import bare_processes
from ops.lab.bench.bodies import WRITERS
from ops.lab.bench.bulk import COMPARED, Bulk, Load, measure_bulk
from ops.lab.bench.bulk_work import bulk_requests, huge_job
from ops.lab.bench.latency import Latency, measure_latency
from ops.lab.bench.places import trained_models
from ops.lab.bench.services import CSV, JSON, NPY, OURS, services
from ops.lab.bench.trained import Shape
from ops.lab.reference import reference_contributions

#: The model that all of them serve.
SHAPE = Shape(6, 100, 30)
#: Where small requests are measured.
IDLE, BESIDE_OURS, BESIDE_OWN = "idle", "beside {rows:,} rows at Shapbox", "beside bulk requests of its own"


@dataclass(frozen=True, slots=True)
class Plan:
    """How many requests and rows; the defaults take about five minutes."""

    shape: Shape = SHAPE
    rounds: int = 5
    #: Of one row and of 500, in a round.
    requests: int = 200
    batch_requests: int = 20
    huge_rows: int = 1_000_000
    bulk_rows: int = 100_000
    peer_rows: int = 20_000
    bare_rows: int = 10_000
    bulk_rounds: int = 3
    peers: bool = True


@dataclass(slots=True)
class OverHttp:
    """All that was measured."""

    latencies: list[Latency] = field(default_factory=list)
    bulk: list[Bulk] = field(default_factory=list)


def measure_over_http(plan: Plan, say: Callable[[str], None]) -> OverHttp:
    """Measure; the order keeps what is heavy behind what is to be quiet."""
    found = OverHttp()
    rows = np.random.default_rng(7).standard_normal((plan.bulk_rows, plan.shape.features), dtype=np.float32)
    with ExitStack() as stack:
        say("training the model, starting the services")
        models, versions = stack.enter_context(trained_models([plan.shape]))
        version = versions[plan.shape]
        running = stack.enter_context(services(models, version, peers=plan.peers))
        ours = running[0]
        say("single rows, idle")
        found.latencies += measure_latency(running, rows[:1], JSON, plan.rounds, plan.requests, IDLE)
        for kind in (NPY, CSV, JSON):
            say(f"500 rows, {kind}")
            found.latencies += measure_latency(
                running, rows[:500], kind, plan.rounds, plan.batch_requests, IDLE
            )
        say(f"single rows beside {plan.huge_rows:,} at {OURS}")
        body = WRITERS[NPY](version, np.resize(rows, (plan.huge_rows, plan.shape.features)))
        url = f"http://127.0.0.1:{ours.port}"
        with huge_job(url, ours.headers, f"/v1/jobs?model={version.id}", body):
            beside = BESIDE_OURS.format(rows=plan.huge_rows)
            found.latencies += measure_latency(running, rows[:1], JSON, plan.rounds, plan.requests, beside)
        del body
        for peer in running[1:]:
            say(f"single rows beside bulk requests at {peer.name}")
            with bulk_requests(peer, rows):
                found.latencies += measure_latency(
                    [peer], rows[:1], JSON, plan.rounds, plan.batch_requests, BESIDE_OWN
                )
        wanted = reference_contributions(version.model_path, rows[:COMPARED])[:, 0, :-1]
        bare = stack.enter_context(bare_processes(version.model_path, rows[: plan.bare_rows]))
        found.bulk = measure_bulk(running, bare, Load(rows, plan.peer_rows, wanted, plan.bulk_rounds), say)
    return found
