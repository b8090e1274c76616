"""`python -m ops.lab.soak`: keeps an appliance at full load for SOAK_MINUTES (60)."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ops.lab.load import Load
from ops.lab.memory import oom_kills, program_memory, repeated, working_set
from ops.lab.report import number_from_environment, progress, run_program, table, verdict
from ops.lab.rows import RESULTS, Form, Mixture, PlannedJob, RowPool, planned_jobs
from ops.lab.trend import WHOLE, Samples, judge
from ops.lab.trial_appliance import Appliance, memory_cgroup

#: MB of the container's plan.
PLAN_MB = 512
#: Clients that send jobs: as many as keep two workers busy while others fetch. One more sends single rows.
JOB_CLIENTS = 6
#: A day's jobs: small ones are as many as large ones. Some take a worker seconds with shap.
MIXTURE = Mixture(((500, 1_700, 1), (1_701, 5_800, 1), (5_801, 20_000, 1)), RESULTS, interventional=0.02)
SINGLE = Mixture(((1, 1, 1),), forms=(Form.JSON,))
#: Seconds between two one-row requests of a client, and between two samples.
ONE_ROW_PAUSE, SAMPLE_SECONDS = 0.1, 1.0
#: Reasons of recycles that a worker's growth has.
GROWN = ("self", "memory_soft", "memory_hard")


def main() -> int:
    """Run a soak; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.lab.soak", description=__doc__)
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="write soak.md and soak.csv there")
    options = parser.parse_args()
    minutes = number_from_environment(parser, "SOAK_MINUTES", 60)
    folder = options.report or Path(tempfile.mkdtemp(prefix="shapbox-soak-report-"))
    return run_program("soak", lambda: soak(minutes, folder))


def soak(
    minutes: float, report: Path, mixture: Mixture = MIXTURE, settings: Mapping[str, str] | None = None
) -> int:
    """Run a soak and write its report; return 1 if anything was wrong.

    Raises TrialError if the appliance does not boot or stop.
    """
    print("soak: making rows, and XGBoost's own values of them", flush=True)
    pools = RowPool.shipped(max(most for _, most, _ in mixture.sizes))
    samples = Samples(minutes)
    jobs = [planned_jobs(sorted(pools), mixture, f"soak-{client}") for client in range(JOB_CLIENTS)]
    single = _paced(planned_jobs(sorted(pools), SINGLE, "soak-one"))
    with _appliance(settings) as appliance:
        load = Load(appliance, pools)

        def look() -> None:
            measured = {(WHOLE, 0): working_set(appliance), **program_memory(appliance)}
            samples.add(time.monotonic() - started, measured)

        started = time.monotonic()
        with repeated(look, SAMPLE_SECONDS), progress("soak") as say:
            load.work([*jobs, single], minutes * 60, lambda text: say(f"{text}, MB: {samples.latest()}"))
        look()  # the last one of a busy machine may be seconds ago
        found, text = _conclude(appliance, load, samples)
        report.mkdir(parents=True, exist_ok=True)
        (report / "appliance.log").write_text(appliance.log(), encoding="utf-8")
    (report / "soak.md").write_text(text, encoding="utf-8")
    samples.write(report / "soak.csv")
    print(f"\n{text}\nsoak: all of it is in {report}")
    return 1 if found else 0


@contextmanager
def _appliance(settings: Mapping[str, str] | None) -> Iterator[Appliance]:
    with (
        tempfile.TemporaryDirectory(prefix="shapbox-soak-") as folder,
        memory_cgroup("soak", PLAN_MB) as cgroup,
    ):
        appliance = Appliance(Path(folder) / "data", settings, cgroup)
        where = f"in a memory cgroup of {PLAN_MB} MB" if cgroup else "without a memory cgroup"
        print(f"soak: booting {where}; its log is {appliance.log_path}", flush=True)
        appliance.start()
        try:
            yield appliance
        finally:
            appliance.stop()


def _paced(jobs: Iterator[PlannedJob]) -> Iterator[PlannedJob]:
    for planned in jobs:
        yield planned
        time.sleep(ONE_ROW_PAUSE)


def _conclude(appliance: Appliance, load: Load, samples: Samples) -> tuple[list[str], str]:
    """Return the faults and the report."""
    ledger, recycles, kills = load.ledger, _recycles(appliance), oom_kills(appliance)
    faults, remarks = judge(samples)
    if not ledger.counts["rows_checked"]:
        faults.append("no job was finished and checked")
    if kills:
        faults.append(f"the kernel has killed {kills} processes for memory")
    if grown := sum(recycles.get(reason, 0) for reason in GROWN):
        faults.append(f"workers had grown too large and were recycled {grown} times: something leaks")
    rows = sum(entry.planned.rows for entry in ledger.entries("completed"))
    recycled = ", ".join(f"{count} ({reason})" for reason, count in sorted(recycles.items())) or "none"
    happened = (
        f"{samples.minutes:g} minutes, working set by {'cgroup' if appliance.cgroup else 'sum of PSS'}. "
        f"{len(ledger.entries('completed')):,} jobs with {rows:,} rows ({rows / max(samples.seconds, 1):,.0f} a second) "
        f"and {ledger.counts['one_row_answers']:,} single rows were explained, {ledger.counts['values_checked']:,} "
        f"values compared with XGBoost's own. Recycled workers: {recycled}."
    )
    found = [*faults, *ledger.findings]
    return found, "\n\n".join([happened, table(samples.table()), *remarks, verdict(found)]) + "\n"


def _recycles(appliance: Appliance) -> dict[str, int]:
    text = appliance.get("/metrics", appliance.metrics_token).body.decode()
    found = re.findall(r'^shapbox_worker_recycles_total\{reason="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {reason: round(float(count)) for reason, count in found if float(count)}


if __name__ == "__main__":
    sys.exit(main())
