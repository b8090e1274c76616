from __future__ import annotations

import io

import pytest

from services.monitor.events.listener import Event, read_events


def message(name: str, payload: str) -> bytes:
    return f"ver:3.0 server:shapbox serial:1 pool:monitor poolserial:1 eventname:{name} len:{len(payload)}\n{payload}".encode()


def test_events_are_read_and_each_is_acknowledged() -> None:
    stdin = io.BytesIO(
        message(
            "PROCESS_STATE_EXITED",
            "processname:worker-1 groupname:worker from_state:RUNNING expected:0 pid:12",
        )
        + message("SUPERVISOR_STATE_CHANGE_STOPPING", "")
    )
    stdout = io.BytesIO()
    events = list(read_events(stdin, stdout))
    assert [event.name for event in events] == ["PROCESS_STATE_EXITED", "SUPERVISOR_STATE_CHANGE_STOPPING"]
    assert events[0].fields["pid"] == "12"
    assert events[1].fields == {}
    assert stdout.getvalue() == b"READY\nRESULT 2\nOKREADY\nRESULT 2\nOKREADY\n"


def test_an_event_is_acknowledged_before_it_is_handed_on() -> None:
    stdout = io.BytesIO()
    events = read_events(io.BytesIO(message("TICK_5", "when:1")), stdout)
    assert next(events) == Event("TICK_5", {"when": "1"})
    assert stdout.getvalue() == b"READY\nRESULT 2\nOK"


@pytest.mark.parametrize("rest", [b"", b"\n", b"ver:3.0 serv"])
def test_a_closed_pipe_ends_the_reading(rest: bytes) -> None:
    assert list(read_events(io.BytesIO(rest), io.BytesIO())) == []
