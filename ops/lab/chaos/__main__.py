"""`python -m ops.lab.chaos`: injects faults under load; exits with 1 if anything was lost.

CHAOS_SECONDS (300) says how long the faults go on, CHAOS_SEED (1) which they are. The plan of faults can be
repeated; how the processes interleave with it cannot.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ops.lab.chaos.audit import audit
from ops.lab.chaos.faults import Injector, plan_faults
from ops.lab.load import SHOW_SECONDS, Load
from ops.lab.report import number_from_environment, progress, run_program, table, verdict
from ops.lab.rows import Mixture, RowPool, planned_jobs
from ops.lab.trial_appliance import Appliance, TrialError
from shared.appliance.counters import Counters
from shared.jobs.store import JobStore
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
#: Few rows of a batch, so that the larger jobs have dozens of batches to be struck in.
SETTINGS = {"BATCH_ROWS": "500"}


def main() -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.lab.chaos", description=__doc__)
    parser.parse_args()
    seconds = number_from_environment(parser, "CHAOS_SECONDS", 300)
    seed = int(number_from_environment(parser, "CHAOS_SEED", 1))
    folder = Path(tempfile.mkdtemp(prefix="shapbox-chaos-"))
    code = run_program("chaos", lambda: _run(folder, seed, seconds))
    if code == 1:
        print(f"chaos: its data and log stay in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _run(folder: Path, seed: int, seconds: float) -> int:
    pools = RowPool.shipped(max(most for _, most, _ in MIXTURE.sizes))
    appliance = Appliance(folder / "data", SETTINGS)
    print(f"chaos: booting in {folder}; its log is {appliance.log_path}", flush=True)
    load = Load(appliance, pools, under_faults=True)
    try:
        appliance.start()
        struck = _strike_and_audit(appliance, load, seed, seconds)
        appliance.stop()
    finally:
        appliance.kill()
    ledger = load.ledger
    if not ledger.counts["rows_checked"]:
        ledger.find("lost", "not one row could be checked")
    states = Counter(entry.state for entry in ledger.entries())
    counts = {**{f"jobs {state}": number for state, number in states.items()}, **ledger.counts}
    lines = [[what, f"{number:,}"] for what, number in {**counts, **struck}.items()]
    said = "FAILED" if ledger.findings else "passed"
    print(f"\nchaos: seed {seed}, {seconds:.0f} s, {struck.total()} faults: {said}")
    print(f"\n{table([['what', 'count'], *lines])}\n\n{verdict(ledger.findings)}", flush=True)
    return 1 if ledger.findings else 0


def _strike_and_audit(appliance: Appliance, load: Load, seed: int, seconds: float) -> Counter[str]:
    """Return the faults that were made. Raises TrialError if there was none."""
    connection = connect(appliance.settings(), Patience.STEADY, name="chaos")
    store, models = JobStore(connection, appliance.settings()), sorted(load.pools)
    injector = Injector(appliance, connection, store, load.ledger, load.stop)
    plan, started = plan_faults(seed, seconds), time.monotonic()
    with progress("chaos") as say, ThreadPoolExecutor(1) as thread:
        load.start([planned_jobs(models, MIXTURE, f"chaos-{seed}-{client}") for client in range(CLIENTS)])
        striking = thread.submit(injector.run, plan)
        try:
            while (passed := time.monotonic() - started) < seconds and not striking.done():
                made = f"{injector.struck.total()} faults, {load.ledger.summary()}"
                say(f"{passed:4.0f} of {seconds:.0f} s, {made}")
                time.sleep(SHOW_SECONDS)
        finally:
            load.stop.set()
        striking.result()
        if not injector.struck:
            raise TrialError("not one fault was made, so nothing is shown")
        load.finish()
        load.too_late.clear()
        audit(load, store, Counters(connection), say)
    return injector.struck


if __name__ == "__main__":
    sys.exit(main())
