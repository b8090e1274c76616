"""The machine's processes."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psutil

from shared.memory import PROC

#: The place of a process's start in /proc/PID/stat, counted after its name: in clock ticks since the machine's.
_START_TIME = 19
#: States of a process that has ended and waits to be reaped.
DEAD_STATES = frozenset({psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})
#: States of a process that somebody has stopped, by a signal or in a debugger.
STOPPED_STATES = frozenset({psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP})


def is_running(pid: int) -> bool:
    """Return whether a process has not ended."""
    return _state(pid) not in {None, *DEAD_STATES}


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped, by a signal or in a debugger."""
    return _state(pid) in STOPPED_STATES


def started_at(pid: int) -> float | None:
    """Return a process's start in seconds since the epoch; None if it is gone or hidden."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def seconds_running(pid: int) -> float | None:
    """Return the seconds since a process's start by a clock that nobody sets; None if unknown."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        ticks = int(fields.split()[_START_TIME])
    except (OSError, ValueError, IndexError):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def is_descendant(pid: int, ancestor: int) -> bool:
    """Return whether a process runs and descends from `ancestor`."""
    if is_running(pid):
        with contextlib.suppress(psutil.Error):  # processes of other users may be hidden
            while pid:
                pid = psutil.Process(pid).ppid()
                if pid == ancestor:
                    return True
    return False


def send_signal(pid: int, number: signal.Signals, ancestor: int) -> bool:
    """Send a signal to a descendant of `ancestor` only; returns whether it was sent."""
    if not is_descendant(pid, ancestor):
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it exited just now
        return False
    return True


def processor_wait(pid: int) -> float:
    """Return the seconds that a process's first thread waited for a processor; 0 if unknown."""
    try:
        return int((PROC / str(pid) / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _state(pid: int) -> str | None:
    try:
        return psutil.Process(pid).status()
    except psutil.Error:
        return None
