"""Some of the n-th calls; `python -m tests.search.faults` makes each of them fail."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from shared.build import ROOT
from shared.treeshap.library import find_library

#: Histories of half a second of a processor each, for which the calls are counted first.
SOME = ("--some", "4", "--seed", "3", "--small-every", "100000")


@pytest.mark.skipif(shutil.which("gcc") is None or find_library() is None, reason="there is no C compiler")
def test_a_job_survives_the_failure_of_any_call() -> None:
    command = [sys.executable, "-m", "tests.search.faults", *SOME]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
