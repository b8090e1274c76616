"""Boot under real memory limits of the kernel's: what it derives, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ops.lab.trial_appliance import Appliance, memory_cgroup
from ops.run.memory_limit import LEAST_CONTAINER_MB
from tests.appliance.conftest import MakeAppliance, Say
from tests.support.faults.submitted import BATCH_ROWS, eventually, submit


@pytest.fixture
def cgroup(tmp_path: Path, megabytes: int) -> Iterator[Path]:
    # A test that starts an appliance asks for this first, so that it is removed last.
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
    [line] = [line for line in checked.stdout.splitlines() if " starting " in line]
    assert f"workers={min(workers, len(os.sched_getaffinity(0)))} " in line
    assert f'memory_limit_mb={limit_mb} memory_limit_because="475/512 of the {megabytes} MB' in line
    assert ("no room for shap" in checked.stdout) == (megabytes == 300)


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


@pytest.mark.parametrize("megabytes", [LEAST_CONTAINER_MB])
def test_the_smallest_container_that_boot_accepts_explains_rows(
    cgroup: Path, make_appliance: MakeAppliance, say: Say
) -> None:
    appliance = make_appliance(cgroup, WORKERS="")
    appliance.start()
    for model in ("diabetes", "breast-cancer"):
        submit(appliance, model, 10 * BATCH_ROWS).check_completed()
    peak = int((cgroup / "memory.max_usage_in_bytes").read_text()) >> 20
    say(f"in {LEAST_CONTAINER_MB} MB: most charged {peak} MB")
    assert "oom_kill 0" in (cgroup / "memory.oom_control").read_text()


class FirstProcess(Appliance):
    """An appliance whose supervisord is PID 1 in its own process namespace, as in a container."""

    def _entering_cgroup(self) -> list[str]:
        return [*super()._entering_cgroup(), "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


@pytest.mark.parametrize("megabytes", [512])
def test_as_pid_1_a_new_monitor_reads_its_containers_memory_though_somebody_else_is_in_there(
    cgroup: Path, tmp_path: Path
) -> None:
    appliance = FirstProcess(tmp_path / "data", cgroup=cgroup)
    try:
        appliance.start()
        assert appliance.process is not None
        [first] = psutil.Process(appliance.process.pid).children()
        with somebody_in(cgroup, first.pid):
            [monitor] = appliance.pids_of("services.monitor")
            os.kill(monitor, signal.SIGKILL)
            eventually(lambda: len(sources(appliance)) == 2, appliance.log_tail)
    finally:
        assert appliance.process is not None
        appliance.process.kill()  # and with it all of its namespace
        appliance.process.wait(60)
    assert all("from the cgroup " in line for line in sources(appliance)), sources(appliance)


def sources(appliance: Appliance) -> list[str]:
    return [line for line in appliance.log().splitlines() if "memory is read from" in line]


@contextmanager
def somebody_in(cgroup: Path, first_pid: int) -> Iterator[None]:
    """Run a process in a container, as `docker exec` and health checks do."""
    script = f'echo $$ > "$0/cgroup.procs" && exec nsenter --target {first_pid} --pid --mount sleep 100'
    with subprocess.Popen(["/bin/sh", "-c", script, str(cgroup)]) as somebody:
        try:
            eventually(psutil.Process(somebody.pid).children)
            yield
        finally:
            for process in psutil.Process(somebody.pid).children():
                process.kill()
            somebody.wait(60)
