"""One soak: an appliance of its own at full load for a while, sampled all along."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.lab.soak.client import Client
from ops.lab.soak.history import LIMIT_MB, MINUTES, SOFT_LIMIT_MB, WARM_UP_SECONDS, WORKERS, History, sort_out
from ops.lab.soak.memory_account import MemoryAccount
from ops.lab.soak.mixture import planned_jobs
from ops.lab.soak.progress import progress_line
from ops.lab.soak.row_pool import RowPool
from ops.lab.soak.sampler import Sampler
from ops.lab.soak.samples import Kind, Sample, SampleFile, read_samples
from ops.lab.soak.tally import Tally
from ops.lab.trial_appliance import Appliance, memory_cgroup
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from shared.settings import Settings

#: MB of the container's plan.
PLAN_MB = 512
#: Clients that send jobs: as many as keep two workers busy while others fetch. One more sends single rows.
JOB_CLIENTS = 6
#: Seconds of warm-up, at most, and the share of a short run.
WARM_UP, WARM_UP_SHARE = 300.0, 0.1
#: Seconds that clients have at the end for the job in hand.
LAST_JOBS_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """Duration, workers, the file of samples, and the size of each model's pool of rows."""

    minutes: float
    samples: Path
    workers: int
    pool_rows: int


@dataclass(frozen=True, slots=True)
class Soaked:
    """The history, the first fault in words, and the end of the log if there was a fault."""

    history: History
    faults: list[str]
    log: str


def soak(plan: SoakPlan) -> Soaked:
    """Run a soak. Raises TrialError if the appliance does not boot or stop."""
    print(f"soak: samples go to {plan.samples}; making rows, and XGBoost's own values of them", flush=True)
    versions = ModelCatalog.load(ROOT / "models").latest()
    pools = {version.id: RowPool.of(version, plan.pool_rows) for version in versions}
    tally = Tally()
    with _appliance(plan) as account, SampleFile(plan.samples) as file:
        warm_up = min(WARM_UP, plan.minutes * 60 * WARM_UP_SHARE)
        facts = {
            MINUTES: plan.minutes,
            WARM_UP_SECONDS: warm_up,
            WORKERS: plan.workers,
            LIMIT_MB: PLAN_MB,
            SOFT_LIMIT_MB: Settings().memory_limit_mb,
        }
        file.add(*(Sample(0, Kind.FACT, name, 0, value) for name, value in facts.items()))
        _load(account, pools, tally, file, plan.minutes * 60)
        # Read back, so that a report made of the file later is the same.
        return Soaked(sort_out(read_samples(plan.samples)), tally.faults(), account.appliance.log())


@contextmanager
def _appliance(plan: SoakPlan) -> Iterator[MemoryAccount]:
    with (
        tempfile.TemporaryDirectory(prefix="shapbox-soak-") as folder,
        memory_cgroup("soak", PLAN_MB) as cgroup,
    ):
        appliance = Appliance(Path(folder) / "data", {"WORKERS": str(plan.workers)}, cgroup)
        where = f"in a memory cgroup of {PLAN_MB} MB" if cgroup else "without a memory cgroup"
        print(f"soak: booting {where}", flush=True)
        print(f"soak: ready after {appliance.start():.1f} s; its log is {appliance.log_path}", flush=True)
        try:
            yield MemoryAccount(appliance, cgroup)
        finally:
            appliance.stop()


def _load(
    account: MemoryAccount, pools: dict[str, RowPool], tally: Tally, file: SampleFile, seconds: float
) -> None:
    stop = threading.Event()
    client = Client(account.appliance, account.appliance.api_key, pools, tally, stop)
    threads = _client_threads(client)

    def say(now: float) -> None:
        print(progress_line(now, seconds, file.all()), flush=True)

    sampler = Sampler(account, file, tally.counts, say)
    sampler.start()
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    deadline = time.monotonic() + LAST_JOBS_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            tally.fault("calls_broken", f"{thread.name} did not end")
    sampler.stop()


def _client_threads(client: Client) -> list[threading.Thread]:
    models, rows = sorted(client.pools), min(len(pool.rows) for pool in client.pools.values())
    return [
        threading.Thread(
            target=client.run_jobs if number else client.run_one_row,
            args=(planned_jobs(models, rows, seed=number),),
            name=f"client-{number}",
            daemon=True,
        )
        for number in range(JOB_CLIENTS + 1)
    ]
