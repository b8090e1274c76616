"""Workers that crash again and again."""

from __future__ import annotations

import time

import pytest

from services.monitor.events.programs import Programs


def test_three_crashes_within_a_minute_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    programs = Programs()
    for now[0] in (0.0, 50.0, 70.0):
        programs.note_crash("host/worker-1")
    assert programs.crashing() == set()
    now[0] = 90.0
    programs.note_crash("host/worker-1")
    assert programs.crashing() == {"host/worker-1"}
    assert programs.restarting() == set()
    for _ in range(3):
        programs.note_exit("redis")
    assert programs.restarting() == {"redis"}
    now[0] = 111.0
    assert programs.crashing() == set()
