"""Bounds in seconds, which a busy machine may miss once, and a defect misses each time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from shared.build import ROOT

#: How often something may be tried. Each time all of its other checks must hold.
ATTEMPTS = 3
#: Seconds that a program of ours takes to be loaded on a machine that has nothing else to do.
LOAD_SECONDS = 1.0


def check_quick(most_seconds: float, act: Callable[[], object], attempts: int = ATTEMPTS) -> None:
    """Fail unless `act` takes less than so many seconds in one of some attempts."""
    check_quick_by_own_clock(most_seconds, lambda: _seconds(act), attempts)


def check_quick_by_own_clock(most_seconds: float, act: Callable[[], float], attempts: int = ATTEMPTS) -> None:
    """Fail unless `act` returns less than so many seconds in one of some attempts."""
    took: list[float] = []
    for _ in range(attempts):
        took.append(act())
        if took[-1] < most_seconds:
            return
    raise AssertionError(f"each attempt took longer than {most_seconds} s: {took}")


def slowness() -> float:
    """Return how many times longer than usual a program takes to be loaded; 1 at least."""
    command = [sys.executable, "-c", "import services.worker.worker"]
    return max(1.0, _seconds(lambda: subprocess.run(command, cwd=ROOT, check=True)) / LOAD_SECONDS)


def _seconds(act: Callable[[], object]) -> float:
    started = time.monotonic()
    act()
    return time.monotonic() - started
