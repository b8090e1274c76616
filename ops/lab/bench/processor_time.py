"""Processor time of an appliance's programs: the cost of work, even on a busy machine."""

from __future__ import annotations

import contextlib

import psutil

from ops.lab.trial_appliance import Appliance

#: A program by a word of its command line.
PROGRAMS = {
    "api": "services.api",
    "workers": "services.worker",
    "Redis": "redis-server",
    "monitor": "services.monitor",
}


def processor_seconds(appliance: Appliance) -> dict[str, float]:
    """Return the seconds that each program's processes have had so far."""
    return {name: sum(map(_seconds, appliance.pids_of(word))) for name, word in PROGRAMS.items()}


def _seconds(pid: int) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return 0.0
