from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from services.monitor.events.listener import Event, ExitReport, note_exit
from services.monitor.events.loop import Loop
from services.monitor.events.programs import Program, Programs, SupervisorAwayError, list_programs

OWN = 99


@pytest.fixture
def programs() -> Programs:
    programs = Programs(own_pid=OWN)
    programs.adopt(
        [
            Program("api", "api", "RUNNING", 10),
            Program("worker", "worker-1", "RUNNING", 11),
            Program("worker", "worker-2", "STARTING", 12),
            Program("monitor", "monitor", "STARTING", OWN),
            Program("announce", "announce", "EXITED"),
        ]
    )
    return programs


def exit_of(state: str, group: str, name: str, **fields: str) -> ExitReport | None:
    return note_exit(Event(f"PROCESS_STATE_{state}", {"processname": name, "groupname": group, **fields}))


def test_a_one_shot_program_is_neither_up_nor_down(programs: Programs) -> None:
    assert programs.states() == {
        "api": "RUNNING",
        "worker-1": "RUNNING",
        "worker-2": "STARTING",
        "monitor": "RUNNING",  # since it answers
    }


def test_a_program_given_up_is_fatal_unless_it_is_a_one_shot(
    programs: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    programs.adopt([Program("api", "api", "FATAL"), Program("announce", "announce", "FATAL")])
    assert programs.states() == {"api": "FATAL"}
    assert exit_of("FATAL", "announce", "announce") is None
    assert caplog.messages == []
    assert exit_of("FATAL", "api", "api") is None
    assert caplog.messages == ["supervisord has given up on a program"]


def test_only_running_workers_count_as_workers(programs: Programs) -> None:
    assert programs.workers() == {"worker-1": 11}
    assert programs.names() == {10: "api", 11: "worker-1", 12: "worker-2", OWN: "monitor"}
    programs.adopt([Program("worker", "worker-1", "EXITED"), Program("worker", "worker-2", "RUNNING", 12)])
    assert programs.workers() == {"worker-2": 12}


def test_while_all_programs_are_stopped_those_that_have_ended_count_as_stopped() -> None:
    programs = Programs()
    with subprocess.Popen(["sleep", "60"]) as child:
        known = {"redis": ("RUNNING", os.getppid()), "api": ("FATAL", None), "worker": ("RUNNING", child.pid)}
        programs.adopt(Program(name, name, state, pid) for name, (state, pid) in known.items())
        programs.note_ended()
        assert programs.states() == {"api": "FATAL", "redis": "RUNNING", "worker": "RUNNING"}
        child.kill()
    programs.note_ended()
    assert programs.states() == {"api": "FATAL", "redis": "RUNNING", "worker": "STOPPED"}
    assert programs.workers() == {}


def test_a_dead_worker_is_reported_with_its_process_id() -> None:
    report = exit_of("EXITED", "worker", "worker-1", pid="11", expected="0")
    assert report == ExitReport("worker-1", 11, in_order=False)


def test_a_worker_dead_in_its_first_second_is_reported_without_its_process_id() -> None:
    dead = ExitReport("worker-2", None, in_order=False)
    assert exit_of("BACKOFF", "worker", "worker-2", tries="1") == dead
    assert exit_of("FATAL", "worker", "worker-2") == dead


def test_a_worker_that_left_by_itself_or_was_told_to_is_reported_as_in_order() -> None:
    left = exit_of("EXITED", "worker", "worker-1", pid="11", expected="1")
    told = exit_of("STOPPED", "worker", "worker-2", pid="12")
    assert [left, told] == [
        ExitReport("worker-1", 11, in_order=True),
        ExitReport("worker-2", 12, in_order=True),
    ]


def test_other_programs_and_other_states_are_no_workers_death() -> None:
    assert exit_of("EXITED", "api", "api", pid="10", expected="0") is None
    assert exit_of("STOPPING", "worker", "worker-1", pid="11") is None
    assert exit_of("RUNNING", "worker", "worker-2", pid="12") is None
    assert note_exit(Event("SUPERVISOR_STATE_CHANGE_STOPPING", {})) is None


def test_a_supervisord_that_is_away_changes_nothing_and_is_reported_once(
    programs: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    loop = Loop("supervisor", 1, lambda: programs.adopt(list_programs(Path("/nowhere"))))
    loop.turn()
    loop.turn()
    assert [message.partition(" (")[0] for message in caplog.messages] == ["supervisord is away"]
    assert programs.states()["api"] == "RUNNING"


def test_an_absent_supervisord_is_named_with_its_socket() -> None:
    with pytest.raises(SupervisorAwayError, match=r"/nowhere: .*No such file"):
        list_programs(Path("/nowhere"))
