"""MEMORY_LIMIT_MB, WORKERS and WORKER_MEMORY_LIMIT_MB as boot decides them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops.run.memory_limit import LEAST_CONTAINER_MB, decide_memory_limit
from ops.run.sizing import Cpus, shortcomings, size, usable_cpus
from shared.cgroup import V2, Cgroup
from shared.errors import BootError
from shared.settings import Role, Settings

EIGHT = Cpus(8.0, "the scheduler")
REMOTE: dict[str, Any] = {"redis_url": "redis://redis:6379", "storage_url": "s3://bucket"}


def container(limit_mb: int | None) -> Cgroup:
    return Cgroup(Path("/cgroup"), V2, None if limit_mb is None else limit_mb * 2**20)


def test_the_memory_limit_follows_from_the_container_unless_it_is_set(tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("300")
    for given, cgroup, limit_mb, why in (
        ({}, container(512), 475, "475/512 of the 512 MB that cgroup v2 allows"),
        ({"MEMORY_LIMIT_MB": " "}, container(2048), 1900, "475/512 of the 2048 MB"),
        ({}, container(LEAST_CONTAINER_MB), 200, "475/512 of the 216 MB"),
        ({}, container(1 << 24), 1 << 20, "475/512 of the 16777216 MB"),
        ({}, None, 475, "no cgroup sets a limit"),
        ({}, container(None), 475, "no cgroup sets a limit"),
        ({"MEMORY_LIMIT_MB": "300"}, container(512), 300, "it is set, of the 512 MB"),
        ({"MEMORY_LIMIT_MB_FILE": str(tmp_path / "limit")}, container(512), 300, "it is set"),
    ):
        memory = decide_memory_limit(given, cgroup)
        settings = Settings.from_environment(memory.complete(given))
        memory.check(settings)
        assert settings.memory_limit_mb == limit_mb
        assert memory.why.startswith(why)


def test_memory_limits_that_cannot_work_are_refused_with_what_would_do() -> None:
    memory = decide_memory_limit({"MEMORY_LIMIT_MB": "497"}, container(512))
    with pytest.raises(BootError, match=r"MEMORY_LIMIT_MB: 497 is 97% or more .*\(512 MB\).* it is 475"):
        memory.check(Settings(memory_limit_mb=497))
    memory.check(Settings(memory_limit_mb=496))  # below 496.64
    for given in ({}, {"MEMORY_LIMIT_MB": "200"}):
        with pytest.raises(BootError, match=r"may take 215 MB .* at least 216 MB"):
            decide_memory_limit(given, container(LEAST_CONTAINER_MB - 1))


def test_the_workers_follow_from_cpus_and_memory() -> None:
    for settings, cpus, sizing in (
        (Settings(), EIGHT, (2, 200)),  # the plan of 512 MB
        (Settings(memory_limit_mb=3800), Cpus(2.5, "a quota"), (3, 1223)),  # what the CPUs keep busy
        (Settings(), Cpus(0.1, "a quota"), (1, 345)),
        (Settings(memory_limit_mb=200), EIGHT, (1, 199)),  # always one
        (Settings(workers=1), EIGHT, (1, 345)),  # it may take what the others leave
        (Settings(workers=7, worker_memory_limit_mb=99), EIGHT, (7, 99)),
        # Workers of other containers may be small.
        (Settings(workers=1, role=Role.API, **REMOTE), EIGHT, (1, 200)),
        (Settings(workers=1, **REMOTE), EIGHT, (1, 200)),
        (Settings(workers=1, role=Role.WORKER, **REMOTE), EIGHT, (1, 345)),
        (Settings(workers=1, redis_url="redis://redis:6379"), EIGHT, (1, 345)),
    ):
        assert size(settings, cpus)[:2] == sizing, settings


@pytest.mark.parametrize(
    ("files", "given", "cpus"),
    [
        ({"cpu.max": "50000 100000"}, "", Cpus(0.5, "the quota of cgroup v2")),
        (
            {"cpu/cpu.cfs_period_us": "100000", "cpu/cpu.cfs_quota_us": "50000"},
            "",
            Cpus(0.5, "the quota of cgroup v1"),
        ),
        (
            {"proc/self/cgroup": "0::/shapbox.service", "shapbox.service/cpu.max": "25000 100000"},
            "",
            Cpus(0.25, "the quota of cgroup v2"),
        ),
        ({"cpu.max": "150000 100000"}, "0.5", Cpus(0.5, "RENDER_CPU_COUNT")),
        *(
            ({"cpu.max": "max 100000"}, count, EIGHT) for count in ("64", "nan", "-1", "many")
        ),  # it never raises it
    ],
)
def test_the_cpus_are_the_least_that_anybody_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], given: str, cpus: Cpus
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert usable_cpus({"RENDER_CPU_COUNT": given}, tmp_path, tmp_path / "proc") == cpus


def test_what_will_suffer_is_said() -> None:
    for settings, cpus, said in (
        (Settings(), Cpus(0.5, "RENDER_CPU_COUNT"), None),
        (Settings(), Cpus(0.25, "a quota"), "0.25 CPUs by a quota are few: the start takes long"),
        (Settings(memory_limit_mb=371), EIGHT, None),
        (Settings(memory_limit_mb=300), EIGHT, "MEMORY_LIMIT_MB=300 has no room for shap"),
        (Settings(memory_limit_mb=300, role=Role.API, **REMOTE), EIGHT, None),
        (Settings(workers=5), EIGHT, None),
        (Settings(workers=6), EIGHT, "set WORKERS to 5 or less"),
    ):
        found = shortcomings(replace(settings, workers=size(settings, cpus).workers), cpus)
        assert len(found) == (said is not None), settings
        assert (said or "") in " ".join(found)
