from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ops.boot.sizing import LEAST_WORKER_LIMIT_MB, size, usable_cpus
from shared.settings import Settings


def quota(folder: Path, cpus: float) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "cpu.max").write_text(f"{int(cpus * 100000)} 100000\n")
    return folder


def test_the_plan_of_512_mb_holds_two_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    sizing = size(Settings(), {}, tmp_path)
    assert (sizing.workers, sizing.worker_memory_limit_mb) == (2, LEAST_WORKER_LIMIT_MB)
    assert "8 CPUs" in sizing.why


def test_memory_that_holds_no_worker_still_gets_one(tmp_path: Path) -> None:
    sizing = size(replace(Settings(), memory_limit_mb=200), {}, tmp_path)
    assert (sizing.workers, sizing.worker_memory_limit_mb) == (1, 199)


def test_a_single_worker_may_take_what_the_others_leave(tmp_path: Path) -> None:
    assert size(replace(Settings(), workers=1), {}, tmp_path).worker_memory_limit_mb == 475 - 130


def test_settings_win_over_what_the_machine_has(tmp_path: Path) -> None:
    sizing = size(replace(Settings(), workers=7, worker_memory_limit_mb=99), {}, tmp_path)
    assert (sizing.workers, sizing.worker_memory_limit_mb) == (7, 99)


@pytest.mark.parametrize(("cpus", "usable"), [(0.5, 1), (1.0, 1), (1.5, 2)])
def test_a_quota_of_cgroup_v2_is_rounded_up(tmp_path: Path, cpus: float, usable: int) -> None:
    assert usable_cpus({}, quota(tmp_path, cpus)) == min(usable, len(os.sched_getaffinity(0)))


def test_a_quota_of_cgroup_v1_counts_and_minus_one_means_none(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    assert usable_cpus({}, tmp_path) == 1
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert usable_cpus({}, tmp_path) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("count", ["64", "", "nan", "-1", "many"])
def test_render_cpu_count_never_raises_the_number(tmp_path: Path, count: str) -> None:
    assert usable_cpus({"RENDER_CPU_COUNT": count}, tmp_path) == len(os.sched_getaffinity(0))


def test_half_a_cpu_on_render_is_one(tmp_path: Path) -> None:
    assert usable_cpus({"RENDER_CPU_COUNT": "0.5"}, tmp_path) == 1
