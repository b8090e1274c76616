"""`python -m ops.lab.chaos`: injects faults under load; exits with 1 if anything was lost.

CHAOS_SECONDS (300) says how long the faults go on, CHAOS_SEED (1) which they are. The plan of faults can be
repeated; how the processes interleave with it cannot.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ops.lab.chaos.audit import audit
from ops.lab.chaos.faults import Injector
from ops.lab.chaos.plan import plan_faults
from ops.lab.chaos.recovery import RecoveryMeter
from ops.lab.chaos.surroundings import Surroundings
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
#: Recoveries that are named.
MOST_SLOW = 3


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
    surroundings = Surroundings.make(folder, seed)
    appliance = surroundings.appliance(folder)
    redis = "two Redis servers behind one address" if surroundings.pair else "the embedded Redis"
    print(f"chaos: booting in {folder} with {redis}; its log is {appliance.log_path}", flush=True)
    load = Load(appliance, pools, under_faults=True)
    try:
        appliance.start()
        if surroundings.disk:
            surroundings.disk.sync()  # as if its models had been compiled long ago
        injector = _strike_and_audit(appliance, load, surroundings, seed, seconds)
        appliance.stop()
    finally:
        appliance.kill()
        surroundings.end()
    ledger, struck = load.ledger, injector.struck
    if not ledger.counts["rows_checked"]:
        ledger.find("lost", "not one row could be checked")
    states = Counter(entry.state for entry in ledger.entries())
    counts = {**{f"jobs {state}": number for state, number in states.items()}, **ledger.counts}
    lines = [[what, f"{number:,}"] for what, number in {**counts, **struck}.items()]
    lines += _times("recovery", injector.meter.seconds) + _times(
        "start after all was killed", injector.starts
    )
    said = "FAILED" if ledger.findings else "passed"
    print(f"\nchaos: seed {seed}, {seconds:.0f} s, {struck.total()} faults: {said}")
    print(f"\n{table([['what', 'count'], *lines])}")
    for kind, why in surroundings.missing.items():
        print(f"\nNot made: {kind}, since {why}.")
    if slowest := sorted(injector.meter.seconds, reverse=True)[:MOST_SLOW]:
        print("\nSlowest recoveries: " + ", ".join(f"{one:.2f} s ({fault})" for one, fault in slowest))
    print(f"\n{verdict(ledger.findings)}", flush=True)
    return 1 if ledger.findings else 0


def _times(what: str, measured: Sequence[tuple[float, str]]) -> list[list[str]]:
    """Return the table's lines on some durations."""
    if not measured:
        return []
    seconds = sorted(one for one, _ in measured)
    marks = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    told = ", ".join(
        f"{name} {seconds[math.ceil(share * len(seconds)) - 1]:.2f}" for name, share in marks.items()
    )
    return [[f"{what}, s of {len(seconds)}", told]]


def _strike_and_audit(
    appliance: Appliance, load: Load, surroundings: Surroundings, seed: int, seconds: float
) -> Injector:
    """Return what made the faults. Raises TrialError if there was none."""
    connection = connect(appliance.settings(), Patience.STEADY, name="chaos")
    store, models = JobStore(connection, appliance.settings()), sorted(load.pools)
    meter = RecoveryMeter(load)
    injector = Injector(appliance, connection, store, load.ledger, load.stop, surroundings, meter)
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
    return injector


if __name__ == "__main__":
    sys.exit(main())
