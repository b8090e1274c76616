"""MEMORY_LIMIT_MB, WORKERS and WORKER_MEMORY_LIMIT_MB as boot decides them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ops.run.memory_limit import LEAST_CONTAINER_MB, decide_memory_limit
from ops.run.sizing import Cpus, shortcomings, size, usable_cpus
from shared.cgroup import V1, V2, Cgroup, CgroupFiles
from shared.errors import BootError, SettingsError
from shared.settings import Role, Settings

MB = 2**20
EIGHT = Cpus(8.0, "the scheduler")
REMOTE: dict[str, Any] = {"redis_url": "redis://redis:6379", "storage_url": "s3://bucket"}


def container(limit_mb: int | None, files: CgroupFiles = V2) -> Cgroup:
    return Cgroup(Path("/cgroup"), files, None if limit_mb is None else limit_mb * MB)


@pytest.mark.parametrize(
    ("given", "cgroup", "limit_mb", "why"),
    [
        ({}, container(512), 475, "475/512 of the 512 MB that cgroup v2 allows"),
        ({}, container(512, V1), 475, "475/512 of the 512 MB that cgroup v1 allows"),
        ({"MEMORY_LIMIT_MB": " "}, container(2048), 1900, "475/512 of the 2048 MB that cgroup v2 allows"),
        ({}, container(LEAST_CONTAINER_MB), 200, "475/512 of the 216 MB that cgroup v2 allows"),
        ({}, container(1 << 24), 1 << 20, "475/512 of the 16777216 MB that cgroup v2 allows"),
        ({}, None, 475, "no cgroup sets a limit"),
        ({}, container(None), 475, "no cgroup sets a limit"),
        ({"MEMORY_LIMIT_MB": "300"}, container(512), 300, "it is set, of the 512 MB that cgroup v2 allows"),
    ],
)
def test_the_memory_limit_follows_from_the_container_unless_it_is_set(
    given: dict[str, str], cgroup: Cgroup | None, limit_mb: int, why: str
) -> None:
    memory = decide_memory_limit(given, cgroup)
    settings = Settings.from_environment(memory.complete(given))
    memory.check(settings)
    assert (settings.memory_limit_mb, memory.why) == (limit_mb, why)


def test_a_memory_limit_in_a_file_counts_as_set(tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("300")
    given = {"MEMORY_LIMIT_MB_FILE": str(tmp_path / "limit")}
    completed = decide_memory_limit(given, container(512)).complete(given)
    assert Settings.from_environment(completed).memory_limit_mb == 300


def test_memory_limits_that_cannot_work_are_refused_with_what_would_do() -> None:
    memory = decide_memory_limit({"MEMORY_LIMIT_MB": "497"}, container(512))
    with pytest.raises(BootError, match=r"MEMORY_LIMIT_MB: 497 is 97% or more .*\(512 MB\).* it is 475"):
        memory.check(Settings(memory_limit_mb=497))
    memory.check(Settings(memory_limit_mb=496))  # below 496.64
    for given in ({}, {"MEMORY_LIMIT_MB": "200"}):
        with pytest.raises(BootError, match=r"may take 215 MB .* at least 216 MB"):
            decide_memory_limit(given, container(LEAST_CONTAINER_MB - 1))


def test_a_workers_limit_is_held_against_the_derived_one() -> None:
    given = {"WORKER_MEMORY_LIMIT_MB": "600"}
    completed = decide_memory_limit(given, container(2048)).complete(given)
    assert Settings.from_environment(completed).worker_memory_limit_mb == 600
    with pytest.raises(SettingsError, match="WORKER_MEMORY_LIMIT_MB"):
        Settings.from_environment(decide_memory_limit(given, container(512)).complete(given))


@pytest.mark.parametrize(
    ("settings", "cpus", "workers", "limit_mb"),
    [
        (Settings(), EIGHT, 2, 200),  # the plan of 512 MB
        (Settings(memory_limit_mb=3800), Cpus(2.5, "a quota"), 3, 1223),  # what the CPUs keep busy
        (Settings(), Cpus(0.1, "a quota"), 1, 345),
        (Settings(memory_limit_mb=200), EIGHT, 1, 199),  # always one
        (Settings(workers=1), EIGHT, 1, 345),  # it may take what the others leave
        (Settings(workers=7, worker_memory_limit_mb=99), EIGHT, 7, 99),
        # Workers of other containers may be small.
        (Settings(workers=1, role=Role.API, **REMOTE), EIGHT, 1, 200),
        (Settings(workers=1, **REMOTE), EIGHT, 1, 200),
        (Settings(workers=1, redis_url="redis://redis:6379"), EIGHT, 1, 345),
    ],
)
def test_the_workers_follow_from_cpus_and_memory(
    settings: Settings, cpus: Cpus, workers: int, limit_mb: int
) -> None:
    sizing = size(settings, cpus)
    assert (sizing.workers, sizing.worker_memory_limit_mb) == (workers, limit_mb)


def quota(folder: Path, version: int, share: str) -> Path:
    if version == 2:
        (folder / "cpu.max").write_text(f"{share} 100000\n")
    else:
        (folder / "cpu").mkdir()
        (folder / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
        (folder / "cpu" / "cpu.cfs_quota_us").write_text(f"{share}\n")
    return folder


@pytest.mark.parametrize(
    ("version", "share", "given", "cpus"),
    [
        (2, "50000", "", Cpus(0.5, "the quota of cgroup v2")),
        (1, "50000", "", Cpus(0.5, "the quota of cgroup v1")),
        (1, "-1", "", EIGHT),
        (2, "150000", "0.5", Cpus(0.5, "RENDER_CPU_COUNT")),
        *((2, "max", count, EIGHT) for count in ("64", "nan", "-1", "many")),  # it never raises the number
    ],
)
def test_the_cpus_are_the_least_that_anybody_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, share: str, given: str, cpus: Cpus
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    assert usable_cpus({"RENDER_CPU_COUNT": given}, quota(tmp_path, version, share), tmp_path) == cpus


def test_a_quota_of_our_own_cgroup_is_found_below_the_mounts_root(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/shapbox.service\n")
    (tmp_path / "shapbox.service").mkdir()
    quota(tmp_path / "shapbox.service", 2, "25000")
    assert usable_cpus({}, tmp_path, tmp_path).count == 0.25


@pytest.mark.parametrize(
    ("settings", "cpus", "said"),
    [
        (Settings(), Cpus(0.5, "RENDER_CPU_COUNT"), None),
        (Settings(), Cpus(0.25, "a quota"), "0.25 CPUs by a quota are few: the start takes long"),
        (Settings(memory_limit_mb=371), EIGHT, None),
        (
            Settings(memory_limit_mb=300),
            EIGHT,
            "MEMORY_LIMIT_MB=300 has no room for shap: interventional jobs will be slow",
        ),
        (Settings(memory_limit_mb=300, role=Role.API, **REMOTE), EIGHT, None),
        (Settings(workers=5), EIGHT, None),
        (Settings(workers=6), EIGHT, "set WORKERS to 5 or less"),
    ],
)
def test_what_will_suffer_is_said(settings: Settings, cpus: Cpus, said: str | None) -> None:
    found = shortcomings(settings, cpus, size(settings, cpus))
    assert len(found) == (said is not None)
    assert (said or "") in " ".join(found)
