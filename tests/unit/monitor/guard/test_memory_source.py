"""The source of the container's memory: cgroups of both versions in their layouts, or PSS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from services.monitor.events.programs import Programs
from services.monitor.guard.memory_decision import Marks
from services.monitor.guard.memory_gauge import MemoryGauge, choose_source
from shared.cgroup import V1, V2, find_cgroup

MB = 2**20
#: supervisord and PID 1 at once, as in a container, with two children.
CONTAINER = {1: 0, 7: 1, 8: 1}
#: A cgroup's line of a process, by version.
V2_ROOT = "0::/\n"
V1_DOCKER = "12:pids:/docker/abc\n5:cpu,memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n"
#: Bytes of 512 MB.
LIMIT = "536870912"


@pytest.fixture(autouse=True)
def laid_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.PROCFS_PATH", str(tmp_path / "proc"))


def lay_processes(root: Path, cgroup: str, parents: Mapping[int, int]) -> Path:
    proc = root / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(cgroup)
    (proc / "stat").write_text("btime 1\n")
    for pid, parent in parents.items():
        (proc / str(pid)).mkdir()
        (proc / str(pid) / "stat").write_text(f"{pid} (a (name) b) S {parent} {' 1' * 45}")
    return proc


def lay(folder: Path, version: int, limit: str = LIMIT, pids: tuple[int, ...] = (1, 7, 8)) -> None:
    """Write the files of a cgroup that uses 300 MB, of which the kernel could drop 100."""
    used, most = {1: ("usage_in_bytes", "limit_in_bytes"), 2: ("current", "max")}[version]
    inactive = {1: f"inactive_file 7\ntotal_inactive_file {100 * MB}", 2: f"anon 1\ninactive_file {100 * MB}"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"memory.{used}").write_text(f"{300 * MB}\n")
    (folder / f"memory.{most}").write_text(f"{limit}\n")
    (folder / "memory.stat").write_text(f"{inactive[version]}\nactive_file 9\n")
    (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


@pytest.mark.parametrize(
    ("version", "line", "folder"),
    [
        (2, V2_ROOT, ""),
        (2, "0::/system.slice/docker-abc.scope\n", "system.slice/docker-abc.scope"),  # no namespace
        (2, "0::/kubepods/pod1/abc\n", ""),  # only the container's part is mounted
        (1, V1_DOCKER, "memory"),
        (1, V1_DOCKER, "memory/docker/abc"),
        (1, "4:memory:/a\n0::/a\n", "memory/a"),
    ],
)
def test_a_cgroup_is_found_where_it_is_mounted(tmp_path: Path, version: int, line: str, folder: str) -> None:
    proc, mounts = lay_processes(tmp_path, line, CONTAINER), tmp_path / "cg"
    lay(mounts / folder, version)
    if version == 1:
        (mounts / "unified" / "a").mkdir(parents=True)  # both versions are mounted, and memory is version 1's
    cgroup = choose_source(1, mounts, proc).cgroup
    assert cgroup is not None
    assert (cgroup.folder, cgroup.files) == (mounts / folder, {1: V1, 2: V2}[version])
    assert (cgroup.limit, cgroup.working_set()) == (512 * MB, 200 * MB)


@pytest.mark.parametrize(
    ("supervisor", "parents", "inside", "ours"),
    [
        (5, {1: 0, 5: 1, 7: 5, 9: 1}, (1, 5, 7, 9), False),
        (5, {1: 0, 5: 1, 7: 5, 9: 1}, (1, 5, 7, 0), False),
        (6, {1: 0, 6: 1, 7: 6}, (1, 6, 7), True),  # an init process before supervisord is no stranger
        # Where supervisord is PID 1 the container is ours: `docker exec` has no parent that we see.
        (1, CONTAINER | {9: 0}, (1, 7, 8, 9), True),
        (1, CONTAINER | {9: 0}, (1, 7, 8, 0), True),
    ],
)
def test_a_cgroup_with_foreign_processes_is_not_the_appliances(
    tmp_path: Path, supervisor: int, parents: dict[int, int], inside: tuple[int, ...], *, ours: bool
) -> None:
    proc = lay_processes(tmp_path, V2_ROOT, parents)
    lay(tmp_path / "cg", 2, pids=inside[:-1])
    lay(tmp_path / "cg" / "nested", 2, pids=inside[-1:])
    source = choose_source(supervisor, tmp_path / "cg", proc)
    assert (source.cgroup is not None) is ours
    assert ours or "1 processes that are not the appliance's" in source.reason


def test_no_cgroup_one_without_a_limit_and_one_in_disorder_are_passed_over(tmp_path: Path) -> None:
    proc = lay_processes(tmp_path, V2_ROOT, CONTAINER)
    assert choose_source(1, tmp_path / "cg", proc).cgroup is None
    for limit in ("max", "9223372036854771712"):
        lay(tmp_path / "cg", 2, limit)
        source = choose_source(1, tmp_path / "cg", proc)
        assert source.cgroup is None
        assert "no limit" in source.reason
    lay(tmp_path / "cg", 2)
    (tmp_path / "cg" / "memory.current").write_text("nonsense")
    assert find_cgroup(tmp_path / "cg", proc) is None


def test_a_cgroup_that_can_be_read_no_longer_is_replaced_by_pss_and_its_working_set_is_never_negative(
    tmp_path: Path,
) -> None:
    proc = lay_processes(tmp_path, V2_ROOT, CONTAINER)
    lay(tmp_path / "cg", 2)
    source = choose_source(1, tmp_path / "cg", proc)
    gauge = MemoryGauge(source, Marks(475 * MB, 496 * MB), Programs(), os.getpid())
    current = tmp_path / "cg" / "memory.current"
    for content, wanted in (("5", 0), (str(300 * MB), 200 * MB)):
        current.write_text(content)
        assert gauge.measure().working_set == wanted
    current.unlink()
    state = gauge.measure()
    assert state.working_set == sum(state.by_pid.values()) > 0


def test_a_cgroup_whose_processes_cannot_be_listed_is_not_trusted(tmp_path: Path) -> None:
    proc = lay_processes(tmp_path, V2_ROOT, {1: 0, 5: 1})
    lay(tmp_path / "cg", 2, pids=(5,))
    (tmp_path / "cg" / "cgroup.procs").write_text("nonsense")
    source = choose_source(5, tmp_path / "cg", proc)
    assert source.cgroup is None
    assert "cannot be listed" in source.reason
