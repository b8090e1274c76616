"""A start that could not have its processes and threads is refused, by real limits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ops.lab.trial_appliance import Appliance
from ops.run.process_limit import needed_tasks
from shared.build import ROOT
from shared.cgroup import CGROUPS
from shared.settings import Role, Settings

#: Processes and threads: less than any appliance needs, and enough for boot.
TOO_FEW = 40
#: As boot is, with a limit of the user's own: root has none.
OF_USER = f"""
import encodings.ascii, os, resource
from ops.run.process_limit import check_process_limit
from shared.errors import BootError
from shared.settings import Settings
resource.setrlimit(resource.RLIMIT_NPROC, ({TOO_FEW}, {TOO_FEW}))
os.setuid(54321)
try:
    check_process_limit(Settings(), 1)
except BootError as error:
    print(error)
"""


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """Make a cgroup with the limit."""
    version_1 = CGROUPS / "pids"
    folder = (version_1 if version_1.is_dir() else CGROUPS) / f"shapbox-pids-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("no cgroup can be made here: that takes root")
    try:
        if not (folder / "pids.max").exists():
            pytest.skip("the cgroup has no limit of processes")
        (folder / "pids.max").write_text(str(TOO_FEW))
        yield folder
    finally:
        folder.rmdir()


def test_a_cgroup_with_too_few_processes_is_named_with_the_number_and_the_option(
    cgroup: Path, tmp_path: Path
) -> None:
    refused = Appliance(tmp_path / "data", {"WORKERS": "1"}, cgroup).run_boot()
    assert refused.returncode == 2
    needed = needed_tasks(Settings(), 1)
    assert f"need {needed} processes and threads" in refused.stderr
    assert f"may have {TOO_FEW} (pids.max of cgroup v" in refused.stderr
    assert f"allow {2 * needed} or more (docker run --pids-limit" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_with_too_few_processes_is_told_of_ulimit() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", OF_USER], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"The user may have {TOO_FEW} (ulimit -u)" in ran.stdout


def test_containers_need_what_their_programs_do() -> None:
    whole = Settings(redis_url="redis://redis", storage_url="s3://rows")
    parts = [needed_tasks(replace(whole, role=role), 2) for role in (Role.WORKER, Role.API, Role.ALL)]
    assert sorted({*parts, needed_tasks(Settings(), 2)}) == [*parts, needed_tasks(Settings(), 2)]
