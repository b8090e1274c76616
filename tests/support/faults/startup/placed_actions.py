"""The effects of placed faults on a worker."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping

import numpy as np

#: MB that a batch takes that blows memory, and of one step towards it.
BLOWN_MB, STEP_MB = 400, 4
#: MB that a batch leaves behind that leaks.
LEAKED_MB = 50
#: Seconds that a batch that leaks takes at least: on a machine of any speed the guard sees each step.
LEAK_SECONDS = 0.3
#: Seconds between two steps, and that all of it is held: a watcher must have seen it by then.
STEP_SECONDS, HELD_SECONDS = 0.005, 8.0
#: Seconds of a batch that a drain can wait for, of one that is too long for it, and of one that hangs.
SLOW_SECONDS, LONG_SECONDS, HUNG_SECONDS = 4.0, 40.0, 600.0
#: Bytes that hold a pthread mutex on any machine.
MUTEX_BYTES = 128


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


#: Memory that leaking batches have left behind.
_leaked: list[np.ndarray] = []


def kill() -> None:
    """End this process as the kernel's OOM killer would."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(HUNG_SECONDS)  # the signal is on its way


def blow_in_steps() -> None:
    """Take memory step by step and touch each page."""
    taken = []
    for _ in range(BLOWN_MB // STEP_MB):
        taken.append(np.ones(STEP_MB * 2**20, dtype=np.uint8))
        time.sleep(STEP_SECONDS)
    time.sleep(HELD_SECONDS)
    del taken


def blow_at_once() -> None:
    """Take all the memory in one go and touch each page."""
    taken = np.ones(BLOWN_MB * 2**20, dtype=np.uint8)
    time.sleep(HELD_SECONDS)
    del taken


def leak() -> None:
    """Leave memory behind that nobody gives back."""
    leak_mb(LEAKED_MB)
    time.sleep(LEAK_SECONDS)


def leak_mb(size: int) -> None:
    """Keep so many MB, all pages touched."""
    _leaked.append(np.ones(size * 2**20, dtype=np.uint8))


def hang() -> None:
    """Never come back from native code that has released the GIL: the heartbeat goes on."""
    _wait_in_native_code(ctypes.CDLL(None), HUNG_SECONDS)


def hang_with_gil() -> None:
    """Never come back from native code, which holds the GIL: nothing of this process goes on."""
    _wait_in_native_code(ctypes.PyDLL(None), HUNG_SECONDS)


def be_slow() -> None:
    """Compute for some seconds, in native code."""
    _wait_in_native_code(ctypes.CDLL(None), SLOW_SECONDS)


def take_long() -> None:
    """Compute for longer than a drain may last, in native code."""
    _wait_in_native_code(ctypes.CDLL(None), LONG_SECONDS)


def break_off() -> None:
    """Raise what nobody expects of an engine."""
    raise RuntimeError("a placed fault")


def _wait_in_native_code(library: ctypes.CDLL, seconds: float) -> None:
    """Lock a mutex that is locked: unlike sleep(), this goes on after a signal."""
    mutex = ctypes.create_string_buffer(MUTEX_BYTES)  # all zeros: a new one
    library.pthread_mutex_lock(mutex)
    until = _Moment(int(time.time() + seconds), 0)
    library.pthread_mutex_timedlock(mutex, ctypes.byref(until))


ACTIONS: Mapping[str, Callable[[], None]] = {
    "kill": kill,
    "steps": blow_in_steps,
    "once": blow_at_once,
    "leak": leak,
    "hang": hang,
    "hanggil": hang_with_gil,
    "slow": be_slow,
    "long": take_long,
    "break": break_off,
}
