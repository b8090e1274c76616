"""One run: an appliance, the load and the faults, the wait for the last jobs, the audit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.lab.chaos.audit import Audit, Auditor
from ops.lab.chaos.injector import Injector
from ops.lab.chaos.plan import WORKERS, Fault, plan_faults
from ops.lab.load import Load
from ops.lab.reference import example_rows
from ops.lab.report import progress
from ops.lab.rows import Mixture, RowPool, planned_jobs
from ops.lab.trial_appliance import Appliance, TrialError
from shared.appliance.counters import Counters
from shared.build import ROOT
from shared.jobs.store import JobStore
from shared.models.catalog import ModelCatalog
from shared.redis.connection import Patience, connect

#: Clients that send jobs.
CLIENTS = 12
#: From one row to some dozens of batches, in every form; some are sent twice, some cancelled.
MIXTURE = Mixture(
    sizes=((1, 1, 30), (2, 500, 35), (501, 4_000, 28), (4_001, 12_000, 7)),
    interventional=0.04,
    again=0.05,
    cancelled=0.06,
)
#: Rows of a model's pool, and so of the largest job.
POOL_ROWS = 12_000
#: Few rows of a batch, so that the larger jobs have dozens of batches to be struck in.
SETTINGS = {"WORKERS": str(WORKERS), "BATCH_ROWS": "500"}
#: Seconds that the last jobs have to end, and between two looks at the progress.
FINISH_SECONDS, PROGRESS_SECONDS = 120.0, 0.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that the report is made of."""

    load: Load
    audit: Audit
    struck: Sequence[Fault]


def strike(folder: Path, seed: int, seconds: float) -> Outcome:
    """Boot an appliance in a folder, run, stop it. Raises TrialError if it fails to boot."""
    versions = ModelCatalog.load(ROOT / "models").latest()
    pools = {
        version.id: RowPool(version, example_rows(version, POOL_ROWS), interventional=True)
        for version in versions
    }
    appliance = Appliance(folder / "data", SETTINGS)
    print(f"chaos: booting in {folder}; its log is {appliance.log_path}", flush=True)
    try:
        appliance.start()
        outcome = _run(appliance, Load(appliance, pools, under_faults=True), seed, seconds)
        appliance.stop()
    finally:
        appliance.kill()
    return outcome


def _run(appliance: Appliance, load: Load, seed: int, seconds: float) -> Outcome:
    connection = connect(appliance.settings(), Patience.STEADY, name="chaos")
    store, models = JobStore(connection, appliance.settings()), sorted(load.pools)
    injector = Injector(appliance, connection, store, load.ledger, load.stop)
    with progress("chaos") as say:
        load.start([planned_jobs(models, MIXTURE, f"chaos-{seed}-{client}") for client in range(CLIENTS)])
        _strike(injector, load, plan_faults(seed, seconds), seconds, say)
        load.finish(FINISH_SECONDS)
        load.too_late.clear()
        return Outcome(load, Auditor(load, store, Counters(connection)).audit(say), injector.struck)


def _strike(
    injector: Injector, load: Load, plan: Sequence[Fault], seconds: float, say: Callable[[str], None]
) -> None:
    """Let the injector work for so many seconds.

    Raises the injector's errors: a run without faults proves nothing.
    """
    faults: list[Exception] = []

    def strike() -> None:
        try:
            injector.run(plan)
        except Exception as fault:  # noqa: BLE001  # raised below
            faults.append(fault)

    thread, started = threading.Thread(target=strike, daemon=True), time.monotonic()
    thread.start()
    while (passed := time.monotonic() - started) < seconds and not faults:
        say(f"{passed:4.0f} of {seconds:.0f} s, {len(injector.struck)} faults, {load.ledger.summary()}")
        time.sleep(PROGRESS_SECONDS)
    load.stop.set()
    thread.join()
    if faults:
        raise faults[0]
    if not injector.struck:
        raise TrialError("not one fault was made, so nothing is shown")
