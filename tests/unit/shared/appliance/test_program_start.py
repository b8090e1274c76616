from __future__ import annotations

import subprocess
import sys
import time

from shared.appliance.program_start import STARTED_AT_NAME, rest_of_start, started_now
from shared.build import ROOT
from shared.timing import TIMING

START_SECONDS = TIMING.program_start_seconds

#: Seconds between two readings of the clock on a slow machine.
SLACK = 0.5


def test_time_that_passed_since_the_start_is_taken_off_and_others_do_not_wait() -> None:
    assert START_SECONDS - SLACK < rest_of_start(started_now()) <= START_SECONDS
    before = {STARTED_AT_NAME: repr(time.monotonic() - 0.4)}
    assert START_SECONDS - 0.4 - SLACK < rest_of_start(before) <= START_SECONDS - 0.4
    assert rest_of_start({STARTED_AT_NAME: repr(time.monotonic() - START_SECONDS)}) == 0
    assert rest_of_start({}) == 0


def test_the_parent_death_signal_tells_its_program_when_it_was_started() -> None:
    tell = f"import os; print(os.environ[{STARTED_AT_NAME!r}])"
    command = [sys.executable, "-m", "ops.run.parent_death", sys.executable, "-c", tell]
    environment = {STARTED_AT_NAME: "1.0"}  # an outer appliance's
    before = time.monotonic()
    told = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert before < float(told.stdout) < time.monotonic()
