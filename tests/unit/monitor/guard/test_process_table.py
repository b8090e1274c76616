from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import pytest

from services.monitor.guard.memory_gauge import SUPERVISOR, measure_processes
from services.monitor.guard.process_table import is_descendant, is_running, seconds_running, started_at

#: A process id that no process has.
NOBODY = 999_999_999


def test_a_child_descends_from_us_and_a_zombie_does_not_run() -> None:
    child = subprocess.Popen(["sleep", "60"])
    assert is_running(child.pid)
    assert is_descendant(child.pid, os.getpid())
    assert not is_descendant(os.getpid(), child.pid)
    assert 0 <= time.time() - (started_at(child.pid) or 0) < 60
    assert 0 <= (seconds_running(child.pid) or -1) < 60
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(child.pid)
    assert not is_descendant(child.pid, os.getpid())
    child.wait()
    assert started_at(child.pid) is seconds_running(child.pid) is None
    assert measure_processes(child.pid, {}).working_set == 0


def test_a_hidden_first_process_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with hidepid=1 and ProtectProc=noaccess."""

    def open_unless_hidden(name: str, *args: Any, **options: Any) -> Any:
        if name.endswith("/1/stat"):
            raise PermissionError(name)
        return open(name, *args, **options)  # noqa: PTH123  # as psutil does

    monkeypatch.setattr("psutil._common.open", open_unless_hidden, raising=False)
    assert is_descendant(os.getpid(), os.getppid())
    assert not is_descendant(os.getpid(), NOBODY)
    assert os.getpid() in measure_processes(os.getppid(), {}).by_pid
    assert not is_running(1)
    assert started_at(1) is None


def test_memory_is_counted_for_the_child_that_supervisord_names_with_its_own_children() -> None:
    script = "sleep 60 & echo ready; wait"
    others = measure_processes(os.getpid(), {}).by_pid  # such as the tracker that multiprocessing leaves
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, process_group=0) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        measured = measure_processes(os.getpid(), {shell.pid: "worker-1"})
        os.killpg(shell.pid, 9)
    ours = measured.by_pid.keys() - others.keys()
    assert len(ours) == 2
    assert measured.by_program["worker-1"] == sum(measured.by_pid[pid] for pid in ours) > 0
    assert measured.by_program[SUPERVISOR] == measured.by_pid[os.getpid()]
    assert measured.working_set == sum(measured.by_pid.values())
