"""One soak: an appliance of its own at full load for a while, its memory sampled all along."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.lab.load import Ledger, Load
from ops.lab.memory import MB, oom_kills, program_pss, repeated, working_set
from ops.lab.reference import example_rows
from ops.lab.report import progress
from ops.lab.rows import RESULTS, Form, Mixture, PlannedJob, RowPool, planned_jobs
from ops.lab.soak.trend import WHOLE, Samples
from ops.lab.trial_appliance import Appliance, memory_cgroup
from shared.build import ROOT
from shared.models.catalog import ModelCatalog

#: MB of the container's plan.
PLAN_MB = 512
#: Clients that send jobs: as many as keep two workers busy while others fetch. One more sends single rows.
JOB_CLIENTS = 6
#: A day's jobs: small ones are as many as large ones. Some take a worker seconds with shap.
MIXTURE = Mixture(((500, 1_700, 1), (1_701, 5_800, 1), (5_801, 20_000, 1)), RESULTS, interventional=0.02)
#: Seconds between two one-row requests of a client, and between two samples.
ONE_ROW_PAUSE, SAMPLE_SECONDS = 0.1, 1.0
#: Seconds of warm-up, at most, and the share of a short run.
WARM_UP, WARM_UP_SHARE = 300.0, 0.1
#: Seconds that clients have at the end for the job in hand.
LAST_JOBS_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Soaked:
    """The figures and the log of a run. `recycles` are by reason."""

    samples: Samples
    ledger: Ledger
    recycles: Mapping[str, int]
    oom_kills: int
    in_cgroup: bool
    log: str


def soak(minutes: float, mixture: Mixture = MIXTURE, settings: Mapping[str, str] | None = None) -> Soaked:
    """Run a soak. Raises TrialError if the appliance does not boot or stop."""
    print("soak: making rows, and XGBoost's own values of them", flush=True)
    rows = max(most for _, most, _ in mixture.sizes)
    versions = ModelCatalog.load(ROOT / "models").latest()
    pools = {
        version.id: RowPool(version, example_rows(version, rows), interventional=True) for version in versions
    }
    samples = Samples(minutes, min(WARM_UP, minutes * 60 * WARM_UP_SHARE))
    with _appliance(settings) as appliance:
        load = Load(appliance, pools)
        jobs = [planned_jobs(sorted(pools), mixture, f"soak-{client}") for client in range(JOB_CLIENTS)]
        single = Mixture(((1, 1, 1),), forms=(Form.JSON,))
        load.start([*jobs, _paced(planned_jobs(sorted(pools), single, "soak-one"))])
        _sample(appliance, load, samples)
        load.finish(LAST_JOBS_SECONDS)
        recycles, kills = _recycles(appliance), oom_kills(appliance)
        return Soaked(samples, load.ledger, recycles, kills, appliance.cgroup is not None, appliance.log())


@contextmanager
def _appliance(settings: Mapping[str, str] | None) -> Iterator[Appliance]:
    with (
        tempfile.TemporaryDirectory(prefix="shapbox-soak-") as folder,
        memory_cgroup("soak", PLAN_MB) as cgroup,
    ):
        appliance = Appliance(Path(folder) / "data", settings, cgroup)
        where = f"in a memory cgroup of {PLAN_MB} MB" if cgroup else "without a memory cgroup"
        print(f"soak: booting {where}", flush=True)
        print(f"soak: ready after {appliance.start():.1f} s; its log is {appliance.log_path}", flush=True)
        try:
            yield appliance
        finally:
            appliance.stop()


def _paced(jobs: Iterator[PlannedJob]) -> Iterator[PlannedJob]:
    for planned in jobs:
        yield planned
        time.sleep(ONE_ROW_PAUSE)


def _sample(appliance: Appliance, load: Load, samples: Samples) -> None:
    """Take samples for the time of the soak."""
    started = time.monotonic()

    def look() -> None:
        measured = {(WHOLE, 0): working_set(appliance), **program_pss(appliance)}
        samples.add(time.monotonic() - started, measured)

    with repeated(look, SAMPLE_SECONDS), progress("soak") as say:
        while (passed := time.monotonic() - started) < samples.minutes * 60:
            last = [(name, points[-1][1] / MB) for (name, _), points in list(samples.points.items())]
            memory = "  ".join(f"{name} {size:.0f}" for name, size in last)
            say(f"{passed / 60:.1f} of {samples.minutes:g} min, {load.ledger.summary()}; MB: {memory}")
            time.sleep(min(SAMPLE_SECONDS, max(0.0, samples.minutes * 60 - passed)))


def _recycles(appliance: Appliance) -> dict[str, int]:
    text = appliance.get("/metrics", appliance.metrics_token).body.decode()
    found = re.findall(r'^shapbox_worker_recycles_total\{reason="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {reason: round(float(count)) for reason, count in found if float(count)}
