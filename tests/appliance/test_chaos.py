"""A short seeded chaos run, and proof that one in which something is lost or altered fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from shared.build import ROOT
from tests.support.quick import ATTEMPTS

#: A seed whose first faults strike boot, workers, api and Redis, and come with each signal.
SEED, SECONDS = 23, 25
#: Seconds for the boot, the last jobs and the audit of a run.
BESIDES = 400
#: Seconds after which a result was recorded, so that no second run of its batch writes it again.
RECORDED_SECONDS = 0.5
#: Result files of one kind of damage. Clients delete some jobs, so that one might never be looked at.
DAMAGES = 6
#: Bytes of a result that has rows enough to be seen in another order.
MANY_ROWS_BYTES = 20_000


def chaos(seconds: int, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops.lab.chaos"],
        cwd=ROOT,
        env={**os.environ, "CHAOS_SECONDS": str(seconds), "CHAOS_SEED": str(SEED), **environment},
        capture_output=True,
        text=True,
        timeout=seconds + BESIDES,
        check=False,
    )


def count(table: str, what: str) -> int:
    found = re.search(rf"^\| {re.escape(what)} *\| *([\d,]+)", table, re.MULTILINE)
    assert found, f"no line {what!r} in:\n{table}"
    return int(found[1].replace(",", ""))


def test_a_short_chaos_run_loses_and_doubles_nothing() -> None:
    done = chaos(SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"seed {SEED}, {SECONDS} s of faults: passed" in done.stdout
    assert count(done.stdout, "jobs accepted") > 5
    assert count(done.stdout, "rows checked against XGBoost") > 500
    struck = re.search(r"^\| all .*\| (\d+) +\|$", done.stdout, re.MULTILINE)
    assert struck
    assert int(struck[1]) > 2  # how many of the planned six there is time for depends on the machine


def test_a_chaos_run_sees_a_result_that_is_gone_and_one_in_another_order(tmp_path: Path) -> None:
    for attempt in range(ATTEMPTS):  # clients may have deleted all that was damaged in one of the ways
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with damaging(folder) as damaged:
            done = chaos(8, TMPDIR=str(folder))
        assert done.returncode == 1 or len(damaged) < DAMAGES, done.stdout + done.stderr
        if count(done.stdout, "rows missing") and count(done.stdout, "rows duplicated or misplaced"):
            break
    assert "s of faults: FAILED" in done.stdout, done.stdout + done.stderr  # and the run did not break off
    assert count(done.stdout, "jobs lost: gone, failed, or with wrong values") > 0, done.stdout
    assert count(done.stdout, "rows missing") > 0, done.stdout
    assert count(done.stdout, "rows duplicated or misplaced") > 0, done.stdout
    assert "its data and log stay in" in done.stderr


@contextmanager
def damaging(folder: Path) -> Iterator[set[Path]]:
    """Delete some results and reverse the rows of others, behind the appliance's back."""
    over, seen = threading.Event(), set[Path]()
    thread = threading.Thread(target=damage, args=(folder, seen, over))
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def damage(folder: Path, seen: set[Path], over: threading.Event) -> None:
    while len(seen) < 2 * DAMAGES and not over.wait(0.2):
        for file in folder.glob("shapbox-chaos-*/data/objects/jobs/*/result/*.npy"):
            with suppress(FileNotFoundError):
                found = file.stat()
                old = time.time() - found.st_mtime > RECORDED_SECONDS
                if file in seen or not old or found.st_size < MANY_ROWS_BYTES or len(seen) == 2 * DAMAGES:
                    continue
                seen.add(file)
                if len(seen) % 2:
                    file.unlink()
                else:
                    np.save(file, np.load(file)[::-1])
