from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from services.monitor.guard.memory_gauge import choose_source
from shared.cgroup import V1, V2, find_cgroup

MB = 2**20
#: supervisord and PID 1 at once, as in a container, with two children.
CONTAINER = {1: 0, 7: 1, 8: 1}


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


def lay_v2(folder: Path, limit: str = "536870912", procs: str = "1\n7\n8\n") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.current").write_text(f"{300 * MB}\n")
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_anon 5\ninactive_file {100 * MB}\nactive_file 9\n")
    (folder / "cgroup.procs").write_text(procs)


def lay_v1(folder: Path, limit: str = "536870912", procs: str = "1\n7\n8\n") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.usage_in_bytes").write_text(f"{300 * MB}\n")
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.stat").write_text(f"inactive_file 7\ntotal_inactive_file {120 * MB}\n")
    (folder / "cgroup.procs").write_text(procs)


def test_v2_with_a_cgroup_namespace(tmp_path: Path) -> None:
    proc = lay_processes(tmp_path, "0::/\n", CONTAINER)
    lay_v2(tmp_path / "cg")
    cgroup = choose_source(1, tmp_path / "cg", proc).cgroup
    assert cgroup is not None
    assert (cgroup.files, cgroup.limit, cgroup.working_set()) == (V2, 512 * MB, 200 * MB)


def test_v2_without_a_namespace_and_the_whole_hierarchy_mounted(tmp_path: Path) -> None:
    proc = lay_processes(tmp_path, "0::/system.slice/docker-abc.scope\n", CONTAINER)
    lay_v2(tmp_path / "cg" / "system.slice" / "docker-abc.scope")
    cgroup = choose_source(1, tmp_path / "cg", proc).cgroup
    assert cgroup is not None
    assert cgroup.folder.name == "docker-abc.scope"


def test_v2_where_only_the_containers_part_is_mounted(tmp_path: Path) -> None:
    proc = lay_processes(tmp_path, "0::/kubepods/pod1/abc\n", CONTAINER)
    lay_v2(tmp_path / "cg")
    cgroup = choose_source(1, tmp_path / "cg", proc).cgroup
    assert cgroup is not None
    assert cgroup.folder == tmp_path / "cg"


def test_v1_by_path_and_by_the_mounts_root(tmp_path: Path) -> None:
    text = "12:pids:/docker/abc\n5:cpu,memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n"
    proc = lay_processes(tmp_path, text, CONTAINER)
    lay_v1(tmp_path / "root" / "memory")
    lay_v1(tmp_path / "path" / "memory" / "docker" / "abc")
    at_root = choose_source(1, tmp_path / "root", proc).cgroup
    by_path = choose_source(1, tmp_path / "path", proc).cgroup
    assert at_root is not None
    assert by_path is not None
    assert (at_root.files, at_root.limit, at_root.working_set()) == (V1, 512 * MB, 180 * MB)
    assert by_path.folder == tmp_path / "path" / "memory" / "docker" / "abc"


def test_where_both_versions_are_mounted_memory_is_read_from_v1(tmp_path: Path) -> None:
    proc = lay_processes(tmp_path, "4:memory:/a\n0::/a\n", CONTAINER)
    lay_v1(tmp_path / "cg" / "memory" / "a")
    (tmp_path / "cg" / "unified" / "a").mkdir(parents=True)
    cgroup = find_cgroup(tmp_path / "cg", proc)
    assert cgroup is not None
    assert cgroup.files is V1


@pytest.mark.parametrize("limit", ["max", "9223372036854771712"])
def test_without_a_limit_pss_is_added_up(tmp_path: Path, limit: str) -> None:
    proc = lay_processes(tmp_path, "0::/\n", CONTAINER)
    lay_v2(tmp_path / "cg", limit)
    source = choose_source(1, tmp_path / "cg", proc)
    assert source.cgroup is None
    assert "no limit" in source.reason


@pytest.mark.parametrize("stranger", ["9", "0"])
def test_with_a_foreign_process_in_the_cgroup_pss_is_added_up(tmp_path: Path, stranger: str) -> None:
    parents = {1: 0, 5: 1, 7: 5, 9: 1}
    proc = lay_processes(tmp_path, "0::/\n", parents)
    lay_v2(tmp_path / "cg", procs=f"1\n5\n7\n{stranger}\n")
    source = choose_source(5, tmp_path / "cg", proc)
    assert source.cgroup is None
    assert "1 processes that are not the appliance's" in source.reason


def test_a_foreign_process_in_a_nested_cgroup_counts_as_well(tmp_path: Path) -> None:
    proc = lay_processes(tmp_path, "0::/\n", {1: 0, 5: 1, 7: 5, 44: 2})
    lay_v2(tmp_path / "cg", procs="5\n7\n")
    assert choose_source(5, tmp_path / "cg", proc).cgroup is not None
    lay_v2(tmp_path / "cg" / "nested", procs="44\n")
    assert choose_source(5, tmp_path / "cg", proc).cgroup is None


def test_an_init_process_before_supervisord_is_no_stranger(tmp_path: Path) -> None:
    proc = lay_processes(tmp_path, "0::/\n", {1: 0, 6: 1, 7: 6})
    lay_v2(tmp_path / "cg", procs="1\n6\n7\n")
    assert choose_source(6, tmp_path / "cg", proc).cgroup is not None


@pytest.mark.parametrize("stranger", ["9", "0"])
def test_where_supervisord_is_pid_1_the_container_is_ours_even_with_other_processes(
    tmp_path: Path, stranger: str
) -> None:
    proc = lay_processes(tmp_path, "0::/\n", CONTAINER | {9: 0})  # `docker exec` has no parent that we see
    lay_v2(tmp_path / "cg", procs=f"1\n7\n8\n{stranger}\n")
    cgroup = choose_source(1, tmp_path / "cg", proc).cgroup
    assert cgroup is not None
    assert (cgroup.limit, cgroup.working_set()) == (512 * MB, 200 * MB)


def test_without_any_cgroup_pss_is_added_up(tmp_path: Path) -> None:
    assert choose_source(1, tmp_path / "cg", tmp_path / "proc").cgroup is None


def test_a_cgroup_in_disorder_is_passed_over(tmp_path: Path) -> None:
    proc = lay_processes(tmp_path, "0::/\n", CONTAINER)
    lay_v2(tmp_path / "cg")
    (tmp_path / "cg" / "memory.current").write_text("nonsense")
    assert find_cgroup(tmp_path / "cg", proc) is None


def test_the_working_set_is_never_negative(tmp_path: Path) -> None:
    proc = lay_processes(tmp_path, "0::/\n", CONTAINER)
    lay_v2(tmp_path / "cg")
    (tmp_path / "cg" / "memory.current").write_text("5")
    cgroup = find_cgroup(tmp_path / "cg", proc)
    assert cgroup is not None
    assert cgroup.working_set() == 0
