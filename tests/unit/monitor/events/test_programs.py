"""supervisord's events and states, as the monitor understands them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.monitor.events.listener import Event, ExitReport, note_exit
from services.monitor.events.programs import Program, Programs, SupervisorAwayError, list_programs

OWN = 99


@pytest.mark.parametrize(
    ("state", "fields", "wanted"),
    [
        ("EXITED", {"pid": "11", "expected": "0"}, ExitReport("worker-1", 11, in_order=False)),
        ("EXITED", {"pid": "11", "expected": "1"}, ExitReport("worker-1", 11, in_order=True)),
        ("STOPPED", {"pid": "11"}, ExitReport("worker-1", 11, in_order=True)),
        # One that dies in its first second is reported without its process id.
        ("BACKOFF", {"tries": "1"}, ExitReport("worker-1", None, in_order=False)),
        ("FATAL", {}, ExitReport("worker-1", None, in_order=False)),
        ("RUNNING", {"pid": "11"}, None),
    ],
)
def test_the_exit_of_a_program_is_reported(
    state: str, fields: dict[str, str], wanted: ExitReport | None
) -> None:
    other = replace(wanted, process_name="api", is_worker=False) if wanted else None
    for name, expected in (("worker-1", wanted), ("api", other), ("announce", None)):
        named = {"processname": name, "groupname": name.partition("-")[0]}
        assert note_exit(Event(f"PROCESS_STATE_{state}", named | fields)) == expected


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


def test_states_names_and_running_workers_and_which_are_given_up(
    programs: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    running = {"api": "RUNNING", "worker-1": "RUNNING", "worker-2": "STARTING"}
    assert programs.states() == running | {"monitor": "RUNNING"}  # since it answers; announce is a one-shot
    assert programs.workers() == {"worker-1": 11}
    assert programs.names() == {10: "api", 11: "worker-1", 12: "worker-2", OWN: "monitor"}
    programs.adopt([Program("worker", "worker-1", "EXITED"), Program("worker", "worker-2", "RUNNING", 12)])
    assert programs.workers() == {"worker-2": 12}
    programs.adopt([Program("api", "api", "FATAL"), Program("announce", "announce", "FATAL")])
    assert programs.states() == {"api": "FATAL"}
    for name in ("announce", "api"):
        report = note_exit(Event("PROCESS_STATE_FATAL", {"processname": name, "groupname": name}))
        assert (report is None) == (name == "announce")
    assert caplog.messages == ["supervisord has given up on a program"]


def test_a_supervisord_that_is_away_is_named_by_its_socket() -> None:
    with pytest.raises(SupervisorAwayError, match=r"/nowhere: .*No such file"):
        list_programs(Path("/nowhere"))
