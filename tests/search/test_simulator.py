"""Simulated histories break no promise, and planted bugs are found."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from shared.build import ROOT
from tests.search.simulator.clocked_redis import can_run
from tests.search.simulator.planted import BUGS

#: Histories of the product as it is, and those in which each planted bug must be found.
HISTORIES, UNTIL_FOUND = os.environ.get("SIMULATOR_HISTORIES", "300"), "1000"
#: Histories a little before those that find a bug, to save time. `--planted` begins at 0.
BEGIN = {
    "release-without-compare": "330",
    "completion-counts-twice": "40",
    "lease-renewed-by-the-dead": "170",
}
#: Characters of a trace's line that hold the time and the actor.
MOMENT = 40

pytestmark = pytest.mark.skipif(not can_run(), reason="needs redis-server and a C compiler")


def test_no_history_breaks_a_promise() -> None:
    done = _simulate("--histories", HISTORIES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_planted_bugs_are_found_and_a_seed_repeats_its_history() -> None:
    for bug in BUGS:
        found = _simulate("--plant", bug, "--first", BEGIN[bug], "--histories", UNTIL_FOUND)
        assert found.returncode == 1, found.stdout + found.stderr
        assert "ends otherwise" not in found.stdout
    [repeat] = re.findall(r"^python -m tests.search.simulator (.*)$", found.stdout, re.MULTILINE)
    # In another process, too: the same programs act at the same moments.
    again = _simulate(*repeat.split())
    assert again.returncode == 1
    moments = _moments(found.stdout.partition("history ")[0])
    assert moments == _moments(again.stdout.partition("history ")[0])[-len(moments) :]


def _moments(trace: str) -> list[str]:
    """Return the time and the actor of each line: replies hold process ids and the real time."""
    return [line[:MOMENT] for line in trace.splitlines()]


def _simulate(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.search.simulator", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
