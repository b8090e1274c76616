"""`python -m tests.search.faults`: makes each call of one job fail, one after the other."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.search.faults.block import LIBRARY_NAME, Kind, build, run_again_preloaded


def main(arguments: list[str]) -> int:
    """Search; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.search.faults", description=__doc__)
    parser.add_argument("--role", choices=("api", "worker", "monitor"))
    parser.add_argument("--kind", choices=("redis", "files", "memory"))
    parser.add_argument("--some", type=int, help="make so many calls fail, drawn from all")
    parser.add_argument("--seed", type=int, default=0, help="draw others")
    parser.add_argument(
        "--small-every", type=int, default=500, help="of small allocations, every so many fail"
    )
    given = parser.parse_args(arguments)
    if LIBRARY_NAME not in os.environ:
        with tempfile.TemporaryDirectory() as folder:
            return run_again_preloaded(build(Path(folder)), arguments)
    _be_quick()
    from tests.search.faults.history import Role
    from tests.search.faults.search import run, ways

    roles = [Role(given.role)] if given.role else list(Role)
    kinds = [Kind[given.kind.upper()]] if given.kind else list(Kind)
    return min(1, run(list(ways(roles, kinds)), given.some, given.seed, given.small_every))


def _be_quick() -> None:
    """Replace the times that a history would wait for, before any service is imported."""
    import shared.timing

    shared.timing.TIMING = replace(
        shared.timing.TIMING,
        heartbeat_interval_seconds=0.05,
        heartbeat_lease_seconds=0.1,  # no worker runs while the monitor does
        storage_pause_seconds=0.001,
        redis_retry_seconds=0.001,
        claim_seconds=0.02,
        # Nothing is in progress when the sweeper runs.
        orphan_seconds=-5.0,
        orphan_on_full_disk_seconds=-5.0,
        cancelled_seconds=-5.0,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
