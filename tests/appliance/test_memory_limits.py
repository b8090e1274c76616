"""Boot under real memory limits of the kernel's: what it derives, and what it refuses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.trial_appliance import memory_cgroup
from tests.appliance.conftest import MakeAppliance


@pytest.fixture
def cgroup(tmp_path: Path, megabytes: int) -> Iterator[Path]:
    with memory_cgroup(tmp_path.name, megabytes) as folder:
        if folder is None:
            pytest.skip("no memory cgroup can be made here")
        yield folder


@pytest.mark.parametrize(("megabytes", "limit_mb", "workers"), [(512, 475, 2), (300, 278, 1)])
def test_workers_and_memory_limit_follow_from_the_cgroup_and_the_log_says_so(
    make_appliance: MakeAppliance,
    cgroup: Path,
    megabytes: int,
    limit_mb: int,
    workers: int,
) -> None:
    checked = make_appliance(cgroup, WORKERS="").run_boot("--check")
    assert checked.returncode == 0, checked.stderr
    [line] = [line for line in checked.stderr.splitlines() if " starting " in line]
    assert f"workers={min(workers, len(os.sched_getaffinity(0)))} " in line
    assert f"memory_limit_mb={limit_mb} memory_limit_because=475/512 of the {megabytes} MB" in line
    assert ("no room for shap" in checked.stderr) == (megabytes == 300)


@pytest.mark.parametrize(
    ("megabytes", "settings", "said"),
    [(128, {}, "at least 216 MB are needed"), (512, {"MEMORY_LIMIT_MB": "497"}, "it is 475")],
)
def test_what_cannot_work_is_refused_with_what_would(
    make_appliance: MakeAppliance,
    cgroup: Path,
    settings: dict[str, str],
    said: str,
) -> None:
    refused = make_appliance(cgroup, **settings).run_boot()
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
