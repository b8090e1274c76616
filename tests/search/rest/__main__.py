"""`python -m tests.search.rest --seed N`: repeats the histories of a seed."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from pathlib import Path

from ops.lab.trial_appliance import Appliance
from tests.search.rest.search import Search
from tests.support.faults.submitted import SMALL_BATCHES


def main() -> int:
    """Search; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.search.rest", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32), help="that of another run")
    parser.add_argument("--histories", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60, help="of one history, at most")
    parser.add_argument("--restarts", type=int, default=10, help="of the whole appliance, at most")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)  # noqa: T201  # it repeats the run
    with tempfile.TemporaryDirectory(prefix="shapbox-search-") as folder:
        appliance = Appliance(Path(folder) / "data", SMALL_BATCHES)
        appliance.start()
        started = time.monotonic()
        search = Search(appliance, given.seed, given.restarts)
        try:
            search.run(given.histories, given.steps)
        finally:
            appliance.stop()
    print(f"{time.monotonic() - started:.0f} s; {search.figures()}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
