from __future__ import annotations

import subprocess
import sys
import time

import pytest

from shared.appliance.program_start import STARTED_AT_NAME, rest_of_start, started_now
from shared.build import ROOT
from shared.timing import TIMING

START_SECONDS = TIMING.program_start_seconds

#: Seconds between two readings of the clock on a slow machine.
SLACK = 0.5


def test_a_program_that_was_just_started_has_all_of_its_start_before_it() -> None:
    assert START_SECONDS - SLACK < rest_of_start(started_now()) <= START_SECONDS


def test_time_that_passed_since_is_taken_off_and_older_or_unsupervised_programs_do_not_wait() -> None:
    before = {STARTED_AT_NAME: repr(time.monotonic() - 0.4)}
    assert START_SECONDS - 0.4 - SLACK < rest_of_start(before) <= START_SECONDS - 0.4
    assert rest_of_start({STARTED_AT_NAME: repr(time.monotonic() - START_SECONDS)}) == 0
    assert rest_of_start({}) == 0


@pytest.mark.parametrize("inherited", [None, "1.0"], ids=["nothing", "an outer appliance's"])
def test_the_parent_death_signal_tells_its_program_when_it_was_started(inherited: str | None) -> None:
    tell = f"import os; print(os.environ[{STARTED_AT_NAME!r}])"
    environment = {} if inherited is None else {STARTED_AT_NAME: inherited}
    before = time.monotonic()
    told = subprocess.run(
        [sys.executable, "-m", "ops.run.parent_death", sys.executable, "-c", tell],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert before < float(told.stdout) < time.monotonic()
