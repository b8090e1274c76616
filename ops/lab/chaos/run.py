"""One run: an appliance, the load and the faults, the wait for the last jobs, the audit."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from ops.lab.chaos.audit import Audit, Auditor
from ops.lab.chaos.calls import Calls
from ops.lab.chaos.clients import Client, Follower
from ops.lab.chaos.holdings import Holdings
from ops.lab.chaos.injector import Injector
from ops.lab.chaos.ledger import Ledger
from ops.lab.chaos.plan import WORKERS, plan_faults
from ops.lab.chaos.planned_jobs import Pools, planned_jobs
from ops.lab.chaos.ports import quiet_ports
from ops.lab.chaos.progress import Progress
from ops.lab.chaos.recovery import Recovered, Watches
from ops.lab.chaos.report import Outcome
from ops.lab.chaos.truth import Truth
from ops.lab.chaos.verdict import judge
from ops.lab.trial_appliance import Appliance, TrialError
from shared.appliance.counters import Counters
from shared.build import ROOT
from shared.jobs.store import JobStore
from shared.models.catalog import ModelCatalog
from shared.redis.connection import Patience, connect

#: Clients that send jobs.
CLIENTS = 6
#: Rows of a batch: few, so that the larger jobs have dozens of batches to be struck in.
BATCH_ROWS = 500
#: Seconds that the last jobs have to end.
FINISH_SECONDS = 120.0
#: Seconds between two looks whether they have.
LOOK_SECONDS = 0.2
#: Seconds between two lines of progress.
PROGRESS_SECONDS = 1.0


@dataclass(slots=True)
class Run:
    """The parts of a run on a started appliance."""

    appliance: Appliance
    seed: int
    seconds: float
    ledger: Ledger = field(default_factory=Ledger)
    time_up: threading.Event = field(default_factory=threading.Event)
    too_late: threading.Event = field(default_factory=threading.Event)

    def outcome(self) -> Outcome:
        """Strike, wait, audit. Raises TrialError if the appliance does not come back."""
        catalog = ModelCatalog.load(ROOT / "models")
        pools = Pools(catalog.latest())
        settings = self.appliance.settings()
        connection = connect(settings, Patience.STEADY, name="chaos")
        calls = Calls(self.appliance, self.appliance.api_key, self.ledger, self.too_late)
        holdings = Holdings(connection, settings)
        watches = Watches(holdings, calls, self.ledger, pools, self.seed)
        injector = Injector(self.appliance, holdings, watches, self.ledger, self.time_up)
        recovered = self._storm(calls, pools, injector, watches)
        auditor = Auditor(
            calls, JobStore(connection, settings), Counters(connection), Truth(catalog, pools), self.ledger
        )
        with Progress(PROGRESS_SECONDS) as progress:
            audit = auditor.audit(lambda done, of: progress.say(f"checking values: {done} of {of} jobs"))
        return self._outcome(audit, injector, recovered, calls)

    def _storm(self, calls: Calls, pools: Pools, injector: Injector, watches: Watches) -> list[Recovered]:
        client = Client(calls, self.ledger, pools, self.time_up)
        clients = [
            threading.Thread(
                target=client.run, args=(planned_jobs(pools.models, self.seed, number),), daemon=True
            )
            for number in range(CLIENTS)
        ]
        finished = threading.Event()
        follower = threading.Thread(target=Follower(calls, self.ledger, finished).run, daemon=True)
        for thread in (*clients, follower):
            thread.start()
        try:
            self._strike(injector)
            return self._settle(clients, watches)
        finally:
            self.time_up.set()
            self.too_late.set()
            finished.set()
            follower.join()
            self.too_late.clear()

    def _strike(self, injector: Injector) -> None:
        started = time.monotonic()
        faults: list[Exception] = []

        def strike() -> None:
            try:
                injector.run(plan_faults(self.seed, self.seconds))
            except Exception as fault:  # noqa: BLE001  # raised below: a run without faults proves nothing
                faults.append(fault)

        thread = threading.Thread(target=strike, daemon=True)
        thread.start()
        with Progress(PROGRESS_SECONDS) as progress:
            while (passed := time.monotonic() - started) < self.seconds and not faults:
                progress.say(
                    f"{passed:4.0f} of {self.seconds:.0f} s, {len(injector.struck)} faults, {self._jobs()}"
                )
                time.sleep(LOOK_SECONDS)
        self.time_up.set()
        thread.join()
        if faults:
            raise faults[0]
        if not injector.struck:
            raise TrialError("not one fault was made, so nothing is shown")

    def _settle(self, clients: list[threading.Thread], watches: Watches) -> list[Recovered]:
        """Wait until all that was begun has ended, so long as that may take."""
        deadline = time.monotonic() + FINISH_SECONDS
        with Progress(PROGRESS_SECONDS) as progress:
            while time.monotonic() < deadline and (
                self.ledger.open() or any(thread.is_alive() for thread in clients)
            ):
                progress.say(f"waiting for the last jobs: {self._jobs()}")
                time.sleep(LOOK_SECONDS)
        recovered = list(watches.finish())
        self.too_late.set()
        for thread in clients:
            thread.join(FINISH_SECONDS)
        return recovered

    def _jobs(self) -> str:
        accepted, still_open = len(self.ledger.entries()), len(self.ledger.open())
        return (
            f"{accepted} jobs accepted, {accepted - still_open} ended, {len(self.ledger.findings())} findings"
        )

    def _outcome(self, audit: Audit, injector: Injector, recovered: list[Recovered], calls: Calls) -> Outcome:
        return Outcome(
            seed=self.seed,
            seconds=self.seconds,
            verdict=judge(audit),
            counted=audit.counted,
            struck=injector.struck,
            recovered=recovered,
            waiting=calls.slowest(waits=True),
            others=calls.slowest(waits=False),
            notes=self.ledger.notes(),
        )


def strike(folder: Path, seed: int, seconds: float) -> Outcome:
    """Boot an appliance in a folder, run, stop it. Raises TrialError if it fails to boot."""
    port, metrics_port = quiet_ports(2)
    settings = {
        "WORKERS": str(WORKERS),
        "PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "BATCH_ROWS": str(BATCH_ROWS),
    }
    appliance = Appliance(folder / "data", settings)
    print(f"chaos: booting in {folder}; its log is {appliance.log_path}", flush=True)
    try:
        appliance.start()
        run = Run(appliance, seed, seconds)
        outcome = run.outcome()
        appliance.stop()
    finally:
        appliance.kill()
    return outcome
