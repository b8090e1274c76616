from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.memory import process_pss_bytes, process_resident_bytes

HOG = "import time; hog = bytearray(b'x') * (64 << 20); print('ready', flush=True); time.sleep(60)"


def test_this_process_takes_some_megabytes_and_its_resident_set_is_no_less() -> None:
    assert 5 << 20 < process_pss_bytes(os.getpid()) < 2 << 30
    assert process_pss_bytes(os.getpid()) <= process_resident_bytes(os.getpid()) < 4 << 30


def test_a_process_that_fills_64_mb_takes_that_and_little_more() -> None:
    with subprocess.Popen([sys.executable, "-c", HOG], stdout=subprocess.PIPE) as hog:
        assert hog.stdout is not None
        hog.stdout.readline()
        size = process_pss_bytes(hog.pid)
        hog.kill()
    assert 64 << 20 < size < 96 << 20


def test_an_ended_process_takes_nothing_whether_reaped_or_not() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_pss_bytes(child.pid) == 0
    child.wait()
    assert process_pss_bytes(child.pid) == process_resident_bytes(child.pid) == 0


@pytest.mark.parametrize("rollup", [None, "Rss: 99 kB\n"])
def test_where_no_pss_is_told_the_resident_set_stands_in(tmp_path: Path, rollup: str | None) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Name:\tworker\nVmRSS:\t   2048 kB\n")
    if rollup:
        (tmp_path / "7" / "smaps_rollup").write_text(rollup)
    assert process_pss_bytes(7, tmp_path) == 2048 * 1024
