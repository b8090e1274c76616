"""Shows that a stop signal is heard while the main thread runs no Python."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from shared.build import ROOT

#: A main thread in native code that has released the GIL, as XGBoost does: it waits for a mutex of its own.
BUSY = """
import ctypes, os, signal
from services.worker.exits import start_drain_clock
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda *given: os._exit(1))
start_drain_clock(0.5, lambda: os._exit(7))
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
libc.pthread_mutex_lock(mutex)
print("busy", flush=True)
libc.pthread_mutex_lock(mutex)
"""


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        for _ in range(5):  # it waits at five looks: so not for the GIL
            while psutil.Process(process.pid).status() != psutil.STATUS_SLEEPING:
                pass
            time.sleep(0.05)
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_leaves_some_time_after_the_first_stop_signal(
    busy: subprocess.Popen[str], number: signal.Signals
) -> None:
    started = time.monotonic()
    busy.send_signal(number)
    busy.send_signal(number)
    assert busy.wait(60) == 7
    assert time.monotonic() - started >= 0.5


def test_other_signals_start_no_clock(busy: subprocess.Popen[str]) -> None:
    busy.send_signal(signal.SIGUSR1)
    with pytest.raises(subprocess.TimeoutExpired):
        busy.wait(1.5)
