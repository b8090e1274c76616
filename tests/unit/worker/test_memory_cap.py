from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.worker.exits import cap_bytes
from shared.build import ROOT
from shared.settings import Settings

MB = 2**20

GROWS = """
import sys
from services.worker.exits import limit_growth
from shared.memory import process_pss_bytes
import os
limit_growth(process_pss_bytes(os.getpid()) + (100 << 20))
fits = bytearray(80 << 20)
try:
    bytearray(40 << 20)
except MemoryError:
    del fits
    bytearray(80 << 20)  # released memory is available again
    sys.exit(0)
sys.exit(1)
"""


def test_the_kernel_refuses_what_a_process_asks_for_beyond_its_cap() -> None:
    done = subprocess.run([sys.executable, "-c", GROWS], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("workers", "own_limit", "cap_mb"), [(1, 345, 409), (1, 200, 366), (2, 200, 301), (4, 200, 264)]
)
def test_a_worker_may_take_what_the_others_leave_below_the_hard_mark(
    workers: int, own_limit: int, cap_mb: int
) -> None:
    settings = Settings(data_dir=Path("x"), workers=workers, worker_memory_limit_mb=own_limit)
    assert cap_bytes(settings) == cap_mb * MB
