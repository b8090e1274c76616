from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest
import redis

from services.monitor.events.loop import Loop
from services.monitor.events.programs import SupervisorAwayError
from shared.errors import StorageUnavailableError


def raising(faults: list[Exception | None]) -> Callable[[], None]:
    def step() -> None:
        fault = faults.pop(0)
        if fault:
            raise fault

    return step


@pytest.mark.parametrize("wakes", [False, True])
def test_a_loop_steps_at_once_and_again_or_when_woken_and_ends_when_told(*, wakes: bool) -> None:
    steps = threading.Semaphore(0)
    loop = Loop("test", 600 if wakes else 0.01, steps.release)
    loop.start()
    for _ in range(3):
        assert steps.acquire(timeout=60)
        if wakes:
            loop.wake()
    loop.stop()
    loop.join(60)
    assert not loop.is_alive()


def test_an_unforeseen_error_is_logged_with_its_traceback_once_and_the_loop_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = Loop("test", 1, raising([ValueError("odd"), ValueError("odd"), KeyError("new"), None]))
    for _ in range(4):
        loop.turn()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "ValueError: odd" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("fault", "who"),
    [
        (redis.exceptions.BusyLoadingError("loading"), "Redis is away"),
        (
            redis.exceptions.ResponseError("of pipeline caused error: MISCONF cannot"),
            "Redis (for writes) is away",
        ),
        (StorageUnavailableError("no route"), "The object store is away"),
        (SupervisorAwayError("/nowhere"), "supervisord is away"),
    ],
)
def test_an_outage_is_one_warning_however_long_it_lasts(
    caplog: pytest.LogCaptureFixture, fault: Exception, who: str
) -> None:
    caplog.set_level(logging.INFO)
    loop = Loop("test", 1, raising([fault, fault, fault, None, fault]))
    for _ in range(5):
        loop.turn()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
    assert who in caplog.messages[0]
    assert "is back" in caplog.messages[1]
