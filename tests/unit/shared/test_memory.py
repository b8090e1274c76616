from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from shared.cgroup import usable_processors
from shared.memory import process_pss_bytes, process_resident_bytes


def test_a_process_takes_what_it_fills_and_its_resident_set_is_no_less() -> None:
    before = process_pss_bytes(os.getpid())
    hog = bytearray(b"x") * (64 << 20)
    size = process_pss_bytes(os.getpid()) - before
    assert len(hog) == 64 << 20
    assert 60 << 20 < size < 96 << 20
    assert process_pss_bytes(os.getpid()) <= process_resident_bytes(os.getpid()) < 4 << 30


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


def test_processors_are_the_schedulers_unless_the_quota_is_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(4)))
    assert usable_processors(tmp_path, tmp_path) == 4  # without a cgroup the scheduler alone tells
    for quota, processors in (("50000", 1), ("150000", 2), ("900000", 4), ("max", 4)):
        (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
        assert usable_processors(tmp_path, tmp_path) == processors
