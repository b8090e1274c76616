from __future__ import annotations

from pathlib import Path

import pytest

from ops.run.memory_limit import LEAST_CONTAINER_MB, decide_memory_limit
from shared.cgroup import V1, V2, Cgroup, CgroupFiles
from shared.errors import BootError, SettingsError
from shared.settings import Settings

MB = 2**20


def container(limit_mb: int | None, files: CgroupFiles = V2) -> Cgroup:
    return Cgroup(Path("/cgroup"), files, None if limit_mb is None else limit_mb * MB)


@pytest.mark.parametrize(
    ("container_mb", "limit_mb"), [(512, 475), (LEAST_CONTAINER_MB, 200), (2048, 1900), (1 << 24, 1 << 20)]
)
@pytest.mark.parametrize("files", [V1, V2])
def test_unset_it_follows_from_the_containers_limit(
    container_mb: int, limit_mb: int, files: CgroupFiles
) -> None:
    memory = decide_memory_limit({"MEMORY_LIMIT_MB": " "}, container(container_mb, files))
    settings = Settings.from_environment(memory.complete({}))
    memory.check(settings)
    assert settings.memory_limit_mb == limit_mb
    assert memory.why == f"475/512 of the {container_mb} MB that cgroup v{files.version} allows"


@pytest.mark.parametrize("cgroup", [None, container(None)])
def test_without_a_containers_limit_it_stays_what_it_is_in_the_plan(cgroup: Cgroup | None) -> None:
    memory = decide_memory_limit({}, cgroup)
    settings = Settings.from_environment(memory.complete({}))
    memory.check(settings)
    assert (settings.memory_limit_mb, memory.why) == (475, "no cgroup sets a limit")


@pytest.mark.parametrize("name", ["MEMORY_LIMIT_MB", "MEMORY_LIMIT_MB_FILE"])
def test_set_it_stays_as_it_is_set(tmp_path: Path, name: str) -> None:
    (tmp_path / "limit").write_text("300")
    given = {name: "300" if name == "MEMORY_LIMIT_MB" else str(tmp_path / "limit")}
    memory = decide_memory_limit(given, container(512))
    assert Settings.from_environment(memory.complete(given)).memory_limit_mb == 300
    assert memory.why == "it is set, of the 512 MB that cgroup v2 allows"


def test_set_so_high_that_the_kernel_would_act_first_it_is_refused_with_what_would_do() -> None:
    given = {"MEMORY_LIMIT_MB": "497"}
    memory = decide_memory_limit(given, container(512))
    with pytest.raises(BootError, match=r"MEMORY_LIMIT_MB: 497 is 97% or more .*\(512 MB\).* it is 475"):
        memory.check(Settings.from_environment(memory.complete(given)))
    memory.check(Settings(memory_limit_mb=496))  # below 496.64


@pytest.mark.parametrize("given", [{}, {"MEMORY_LIMIT_MB": "200"}])
def test_a_container_that_holds_no_worker_is_refused_with_the_smallest_that_does(
    given: dict[str, str],
) -> None:
    with pytest.raises(BootError, match=r"may take 215 MB .* at least 216 MB"):
        decide_memory_limit(given, container(LEAST_CONTAINER_MB - 1))


def test_a_workers_limit_is_held_against_the_derived_one() -> None:
    given = {"WORKER_MEMORY_LIMIT_MB": "600"}
    settings = Settings.from_environment(decide_memory_limit(given, container(2048)).complete(given))
    assert settings.worker_memory_limit_mb == 600
    with pytest.raises(SettingsError, match="WORKER_MEMORY_LIMIT_MB"):
        Settings.from_environment(decide_memory_limit(given, container(512)).complete(given))
