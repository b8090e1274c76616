from __future__ import annotations

from pathlib import Path

import pytest

from services.monitor.events.listener import Event, Listener
from services.monitor.events.programs import Program, Programs

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
        ],
        as_of=0,
    )
    return programs


class Heard:
    def __init__(self, programs: Programs) -> None:
        self.left: list[tuple[str, int | None, bool]] = []
        self.stopping = 0
        self.listener = Listener(
            programs, Path("/nowhere"), lambda *report: self.left.append(report), self._stop
        )

    def _stop(self) -> None:
        self.stopping += 1

    def event(self, state: str, group: str, name: str, **fields: str) -> None:
        self.listener.handle(
            Event(f"PROCESS_STATE_{state}", {"processname": name, "groupname": group, **fields})
        )


def test_a_one_shot_program_is_neither_up_nor_down(programs: Programs) -> None:
    assert programs.up() == {"api": True, "worker-1": True, "worker-2": False, "monitor": True}


def test_a_program_given_up_is_fatal_unless_it_is_a_one_shot(programs: Programs) -> None:
    heard = Heard(programs)
    heard.event("FATAL", "api", "api")
    heard.event("FATAL", "announce", "announce")
    assert programs.fatal() == ("api",)
    heard.event("STARTING", "api", "api")
    assert programs.fatal() == ()


def test_only_running_workers_count_as_workers(programs: Programs) -> None:
    assert programs.workers() == {"worker-1": 11}
    assert programs.names() == {10: "api", 11: "worker-1", 12: "worker-2", OWN: "monitor"}


def test_a_dead_worker_is_reported_with_its_process_id(programs: Programs) -> None:
    heard = Heard(programs)
    heard.event("EXITED", "worker", "worker-1", pid="11", expected="0")
    assert heard.left == [("worker-1", 11, False)]
    assert programs.workers() == {}


def test_a_worker_dead_in_its_first_second_is_reported_with_what_was_known(programs: Programs) -> None:
    heard = Heard(programs)
    heard.event("BACKOFF", "worker", "worker-2", tries="1")
    heard.event("FATAL", "worker", "worker-2")
    assert heard.left == [("worker-2", 12, False), ("worker-2", None, False)]


def test_a_worker_that_left_by_itself_or_was_told_to_is_reported_as_in_order(programs: Programs) -> None:
    heard = Heard(programs)
    heard.event("EXITED", "worker", "worker-1", pid="11", expected="1")
    heard.event("STOPPED", "worker", "worker-2", pid="12")
    assert heard.left == [("worker-1", 11, True), ("worker-2", 12, True)]


def test_other_programs_and_other_states_are_no_workers_death(programs: Programs) -> None:
    heard = Heard(programs)
    heard.event("EXITED", "api", "api", pid="10", expected="0")
    heard.event("STOPPING", "worker", "worker-1", pid="11")
    heard.event("RUNNING", "worker", "worker-2", pid="12")
    assert heard.left == []
    assert programs.workers() == {"worker-2": 12}


def test_the_stopping_of_everything_is_passed_on(programs: Programs) -> None:
    heard = Heard(programs)
    heard.listener.handle(Event("SUPERVISOR_STATE_CHANGE_STOPPING", {}))
    heard.listener.handle(Event("SUPERVISOR_STATE_CHANGE_RUNNING", {}))
    assert heard.stopping == 1


def test_a_list_older_than_the_last_event_is_not_taken_over(programs: Programs) -> None:
    as_of = programs.version
    programs.changed(Program("api", "api", "EXITED"))
    assert not programs.adopt([Program("api", "api", "RUNNING", 10)], as_of)
    assert programs.up()["api"] is False
    assert programs.adopt([Program("api", "api", "RUNNING", 10)], programs.version)
    assert programs.up() == {"api": True}


def test_a_supervisord_that_is_away_changes_nothing_and_is_reported_once(
    programs: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard(programs)
    heard.listener.poll()
    heard.listener.poll()
    assert len(caplog.records) == 1
    assert programs.up()["api"] is True
