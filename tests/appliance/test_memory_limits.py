"""The smallest container that boot accepts, with supervisord as its PID 1."""

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
from tests.support.faults.submitted import BATCH_ROWS, SMALL_BATCHES, eventually, submit


class FirstProcess(Appliance):
    """An appliance whose supervisord is PID 1 in its own process namespace, as in a container."""

    def _command(self) -> list[str]:
        *entering_cgroup, python, option, boot = super()._command()
        unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        return [*entering_cgroup, *unshare, python, option, boot]

    def kill(self) -> None:
        """Kill unshare, and with it all of its namespace."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)


@pytest.fixture
def cgroup(tmp_path: Path) -> Iterator[Path]:
    with memory_cgroup(tmp_path.name, LEAST_CONTAINER_MB) as folder:
        if folder is None:
            pytest.skip("no memory cgroup can be made here")
        yield folder


def test_the_smallest_container_explains_rows_and_a_new_monitor_reads_its_memory_beside_a_stranger(
    cgroup: Path, tmp_path: Path
) -> None:
    appliance = FirstProcess(tmp_path / "data", {**SMALL_BATCHES, "WORKERS": ""}, cgroup)
    try:
        appliance.start()
        [line] = [line for line in appliance.log().splitlines() if "memory_limit_because" in line]
        for said in (
            "workers=1 ",
            f"MEMORY_LIMIT_MB={LEAST_CONTAINER_MB * 475 // 512}",
            f'memory_limit_because="475/512 of the {LEAST_CONTAINER_MB} MB',
        ):
            assert said in line
        for model in ("diabetes", "breast-cancer"):
            submit(appliance, model, 10 * BATCH_ROWS).check_completed()
        assert appliance.process is not None
        [first] = psutil.Process(appliance.process.pid).children()
        with somebody_in(cgroup, first.pid):
            [monitor] = appliance.pids_of("services.monitor")
            os.kill(monitor, signal.SIGKILL)
            eventually(lambda: len(sources(appliance)) == 2, appliance.log_tail)
    finally:
        appliance.kill()
    assert "oom_kill 0" in (cgroup / "memory.oom_control").read_text()
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
