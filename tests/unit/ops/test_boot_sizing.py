from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ops.run.sizing import LEAST_WORKER_LIMIT_MB, Cpus, shortcomings, size, usable_cpus
from shared.settings import Role, Settings

EIGHT = Cpus(8.0, "the scheduler")


def quota(folder: Path, cpus: float) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "cpu.max").write_text(f"{int(cpus * 100000)} 100000\n")
    return folder


def faults(settings: Settings, cpus: Cpus = EIGHT) -> str:
    return " ".join(shortcomings(settings, cpus, size(settings, cpus)))


def test_the_plan_of_512_mb_holds_two_workers() -> None:
    sizing = size(Settings(), EIGHT)
    assert (sizing.workers, sizing.worker_memory_limit_mb) == (2, LEAST_WORKER_LIMIT_MB)
    assert sizing.why == "8 CPUs, MEMORY_LIMIT_MB=475 holds 2"


def test_memory_for_many_workers_gives_no_more_than_the_cpus_keep_busy() -> None:
    assert size(replace(Settings(), memory_limit_mb=3800), Cpus(2.5, "a quota")).workers == 3


def test_memory_that_holds_no_worker_still_gets_one() -> None:
    sizing = size(replace(Settings(), memory_limit_mb=200), EIGHT)
    assert (sizing.workers, sizing.worker_memory_limit_mb) == (1, 199)


def test_a_single_worker_may_take_what_the_others_leave() -> None:
    assert size(replace(Settings(), workers=1), EIGHT).worker_memory_limit_mb == 475 - 130


def test_an_api_plans_batches_for_the_smallest_remote_worker() -> None:
    sizing = size(replace(Settings(), workers=1, role=Role.API), EIGHT)
    assert sizing.worker_memory_limit_mb == LEAST_WORKER_LIMIT_MB


def test_an_appliance_that_workers_may_join_plans_for_the_smallest_of_them() -> None:
    shared = Settings(workers=1, redis_url="redis://redis:6379", storage_url="s3://bucket")
    assert size(shared, EIGHT).worker_memory_limit_mb == LEAST_WORKER_LIMIT_MB
    assert size(replace(shared, storage_url=None), EIGHT).worker_memory_limit_mb == 345


def test_settings_win_over_what_the_machine_has() -> None:
    sizing = size(replace(Settings(), workers=7, worker_memory_limit_mb=99), EIGHT)
    assert (sizing.workers, sizing.worker_memory_limit_mb) == (7, 99)


@pytest.mark.parametrize(("cpus", "workers"), [(0.1, 1), (0.5, 1), (1.0, 1), (1.5, 2)])
def test_a_quota_of_cgroup_v2_is_rounded_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpus: float, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    found = usable_cpus({}, quota(tmp_path, cpus), tmp_path)
    assert found == Cpus(cpus, "the quota of cgroup v2")
    assert found.workers == workers


def test_a_quota_of_cgroup_v1_counts_and_minus_one_means_none(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    assert usable_cpus({}, tmp_path, tmp_path) == Cpus(0.5, "the quota of cgroup v1")
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert usable_cpus({}, tmp_path, tmp_path) == scheduled()


def test_a_quota_of_our_own_cgroup_is_found_below_the_mounts_root(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/shapbox.service\n")
    quota(tmp_path / "shapbox.service", 0.25)
    assert usable_cpus({}, tmp_path, tmp_path).count == 0.25


@pytest.mark.parametrize("count", ["64", "", "nan", "-1", "many"])
def test_render_cpu_count_never_raises_the_number(tmp_path: Path, count: str) -> None:
    assert usable_cpus({"RENDER_CPU_COUNT": count}, tmp_path, tmp_path) == scheduled()


def test_half_a_cpu_on_render_is_one_worker(tmp_path: Path) -> None:
    found = usable_cpus({"RENDER_CPU_COUNT": "0.5"}, tmp_path, tmp_path)
    assert (found, found.workers) == (Cpus(0.5, "RENDER_CPU_COUNT"), 1)


def test_the_plan_lacks_nothing() -> None:
    assert faults(Settings(), Cpus(0.5, "RENDER_CPU_COUNT")) == ""


def test_less_than_half_a_cpu_is_said_to_be_slow() -> None:
    said = faults(Settings(), Cpus(0.25, "the quota of cgroup v2"))
    assert "0.25 CPUs by the quota of cgroup v2" in said
    assert "start takes long" in said


def test_memory_without_room_for_shap_is_said_to_slow_interventional_jobs_down() -> None:
    assert faults(replace(Settings(), memory_limit_mb=371)) == ""
    said = faults(replace(Settings(), memory_limit_mb=300))
    assert "MEMORY_LIMIT_MB=300 has no room for shap: interventional" in said
    assert faults(replace(Settings(), memory_limit_mb=300, role=Role.API)) == ""


def test_more_workers_than_fit_when_idle_are_said_to_be_too_many() -> None:
    assert faults(replace(Settings(), workers=5)) == ""
    assert "set WORKERS to 5 or less" in faults(replace(Settings(), workers=6))


def scheduled() -> Cpus:
    return Cpus(float(len(os.sched_getaffinity(0))), "the scheduler")
