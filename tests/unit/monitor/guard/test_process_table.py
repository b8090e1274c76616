from __future__ import annotations

import os
import subprocess

from services.monitor.guard.memory_gauge import SUPERVISOR, measure_processes
from services.monitor.guard.process_table import family, is_descendant, parent_of, read_parents


def test_a_child_descends_from_us_and_we_do_not_descend_from_it() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert parent_of(child.pid) == os.getpid()
        assert is_descendant(child.pid, os.getpid())
        assert not is_descendant(os.getpid(), child.pid)
        assert child.pid in family(os.getpid(), read_parents())
        child.kill()


def test_a_zombie_has_no_parent_and_descends_from_nobody() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert parent_of(child.pid) is None
    assert not is_descendant(child.pid, os.getpid())
    child.wait()


def test_a_family_is_found_through_all_generations() -> None:
    assert family(5, {5: 1, 6: 5, 7: 6, 8: 1, 9: 7}) == {5, 6, 7, 9}


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
    assert measured.total == sum(measured.by_pid.values())
