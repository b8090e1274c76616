"""When a worker exits by itself: a stop signal, its own size, its memory cap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.worker.exits import OwnSize, cap_bytes
from shared.build import ROOT
from shared.settings import Settings

MB = 1 << 20

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
GROWS = """
import os
from services.worker.exits import limit_growth
from shared.memory import process_pss_bytes
limit_growth(process_pss_bytes(os.getpid()) + (100 << 20))
fits = bytearray(80 << 20)
try:
    bytearray(40 << 20)
except MemoryError:
    del fits
    bytearray(80 << 20)  # released memory is available again
    print("refused")
"""


def test_the_process_leaves_some_time_after_the_first_stop_signal_and_after_no_other() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], cwd=ROOT, stdout=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        assert busy.stdout.readline() == b"busy\n"
        time.sleep(0.2)  # it waits by now
        busy.send_signal(signal.SIGUSR1)  # starts no clock
        time.sleep(0.6)
        assert busy.poll() is None
        started = time.monotonic()
        busy.send_signal(signal.SIGINT)
        busy.send_signal(signal.SIGTERM)
        assert busy.wait(60) == 7
        assert time.monotonic() - started >= 0.5


def test_the_kernel_refuses_what_a_process_asks_for_beyond_its_cap() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROWS], cwd=ROOT, check=False, timeout=60, capture_output=True
    )
    assert done.stdout == b"refused\n", done.stderr


@pytest.mark.parametrize(
    ("workers", "own_limit", "cap_mb"), [(1, 345, 409), (1, 200, 366), (2, 200, 301), (4, 200, 264)]
)
def test_a_worker_may_take_what_the_others_leave_below_the_hard_mark(
    workers: int, own_limit: int, cap_mb: int
) -> None:
    settings = Settings(data_dir=Path("x"), workers=workers, worker_memory_limit_mb=own_limit)
    assert cap_bytes(settings) == cap_mb * MB


@pytest.mark.parametrize(
    ("looks", "outgrown_mb"),
    [
        ([(120, 80), (150, 110)], 110),  # at the very next look
        ([(150, 90)], None),  # what is shared with others does not count
        ([(90, 999)], None),  # so small that its PSS need not be read
        ([(150, 90), (155, 999), (170, 108)], 108),  # nor again while it stays as it was
    ],
)
def test_a_process_that_outgrows_its_limit_is_told_by_resident_size_and_pss(
    tmp_path: Path, looks: list[tuple[int, int]], outgrown_mb: int | None
) -> None:
    folder, own = tmp_path / str(os.getpid()), OwnSize(100 * MB, tmp_path)
    folder.mkdir()
    found = []
    for resident_mb, pss_mb in looks:
        (folder / "status").write_text(f"VmRSS:\t{resident_mb * 1024} kB\n")
        (folder / "smaps_rollup").write_text(f"Pss: {pss_mb * 1024} kB\n")
        found.append(own.outgrown())
    assert found[-1] == (None if outgrown_mb is None else outgrown_mb * MB)
    assert not any(found[:-1])
