"""Faults at exact places of a worker's work, for one batch each.

The worker is the one that supervisord starts, and every line of it runs. The additions stand between two of its
calls, where the kernel could also strike: before it claims a batch, before it reads the input, while the engine
computes, after the result is stored, after it is recorded.

A fault is a file, FOLDER/placed/JOB.BATCH.POINT.ACTION.NUMBER. The first process that comes by takes it by renaming it,
which only one process can do, so that each file makes exactly one fault.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial, wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from changes import filled_mb, keep_mb  # type: ignore[import-not-found]  # beside this file, as hooks is
from hooks import on_import  # type: ignore[import-not-found]

type Call = Callable[..., Any]

#: MB that a batch takes that blows memory, of one step towards it, and that one leaves behind that leaks.
BLOWN_MB, STEP_MB, LEAKED_MB = 400, 4, 50
#: Seconds between two steps; that all of it is held; and of a batch that leaks: a watcher must see each.
STEP_SECONDS, HELD_SECONDS, LEAK_SECONDS = 0.005, 8.0, 0.3
#: Seconds of a batch that a drain can wait for, of one that is too long for it, and of one that hangs.
SLOW_SECONDS, LONG_SECONDS, HUNG_SECONDS = 4.0, 40.0, 600.0
#: Seconds between two looks whether the test lets the workers go on, and that a native call runs before a kill.
HOLD_SECONDS, INSIDE_SECONDS = 0.005, 0.005
#: Bytes that hold a pthread mutex on any machine.
MUTEX_BYTES = 128

#: Where the faults lie; set by `install`.
_folder = Path()
#: The current batch: the engine is not told which one it explains.
_current = ("", -1)


def install(folder: str) -> None:
    """Have the points wired into the worker's modules as soon as they are imported."""
    global _folder  # noqa: PLW0603  # one process, one folder
    _folder = Path(folder)
    on_import("shared.objects.payloads", _wire_payloads)
    on_import("shared.jobs.transitions", _wire_transitions)
    on_import("shared.engines.xgboost_engine", lambda module: _wire_engine(module.XGBoostEngine))
    on_import("shared.engines.compiled_engine", lambda module: _wire_engine(module.CompiledEngine))


# --- Actions ---


def _kill() -> None:
    """End this process as the kernel's OOM killer would."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(HUNG_SECONDS)  # the signal is on its way


def _blow(step_mb: int) -> None:
    """Take memory step by step, touch each page, and hold it for a while."""
    taken = []
    for _ in range(BLOWN_MB // step_mb):
        taken.append(filled_mb(step_mb))
        time.sleep(STEP_SECONDS)
    time.sleep(HELD_SECONDS)
    del taken


def _leak() -> None:
    keep_mb(LEAKED_MB)
    time.sleep(LEAK_SECONDS)


def _wait_in_native_code(library: type[ctypes.CDLL], seconds: float) -> None:
    """Lock a mutex that is locked: unlike sleep(), this goes on after a signal.

    PyDLL keeps the GIL, CDLL releases it.
    """

    class Moment(ctypes.Structure):
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    mutex = ctypes.create_string_buffer(MUTEX_BYTES)  # all zeros: a new one
    library(None).pthread_mutex_lock(mutex)
    until = Moment(int(time.time() + seconds), 0)
    library(None).pthread_mutex_timedlock(mutex, ctypes.byref(until))


def _break() -> None:
    """Raise what nobody expects of an engine."""
    raise RuntimeError("a placed fault")


_ACTIONS: Mapping[str, Callable[[], None]] = {
    "kill": _kill,
    "steps": partial(_blow, STEP_MB),
    "once": partial(_blow, BLOWN_MB),
    "leak": _leak,
    "hang": partial(_wait_in_native_code, ctypes.CDLL, HUNG_SECONDS),
    "hanggil": partial(_wait_in_native_code, ctypes.PyDLL, HUNG_SECONDS),
    "slow": partial(_wait_in_native_code, ctypes.CDLL, SLOW_SECONDS),
    "long": partial(_wait_in_native_code, ctypes.CDLL, LONG_SECONDS),
    "break": _break,
}

# --- Points ---


def _wire_payloads(module: ModuleType) -> None:
    module.Payloads.rows = _passing(module.Payloads.rows, before="read")
    module.Payloads.put_result = _passing(module.Payloads.put_result, after="stored")


def _wire_transitions(module: ModuleType) -> None:
    module.Transitions.claim = _passing(module.Transitions.claim, before="unclaimed")
    module.Transitions.complete = _passing(module.Transitions.complete, after="recorded")


def _wire_engine(engine_class: Any) -> None:
    explain = engine_class.explain

    @wraps(explain)
    def wired(engine: Any, rows: Any) -> Any:
        action = _reached("compute", *_current)
        if action == "kill":  # in native code, wherever that is by then
            threading.Timer(INSIDE_SECONDS, _kill).start()
            while True:
                explain(engine, rows)
        if action:
            _ACTIONS[action]()
        return explain(engine, rows)

    engine_class.explain = wired


def _passing(call: Call, *, before: str = "", after: str = "") -> Call:
    """Wrap a call, whose first arguments are a job or id and a batch, with a point at its side."""

    @wraps(call)
    def wired(thing: Any, job: Any, batch: int, *rest: Any, **named: Any) -> Any:
        job_id = job if isinstance(job, str) else job.id
        if before:
            _come_by(before, job_id, batch)
        answer = call(thing, job, batch, *rest, **named)
        if after:
            _come_by(after, job_id, batch)
        return answer

    return wired


def _come_by(point: str, job_id: str, batch: int) -> None:
    global _current  # noqa: PLW0603  # one worker, one batch
    _current = (job_id, batch)
    if action := _reached(point, job_id, batch):
        _ACTIONS[action]()
    while point == "read" and (_folder / "hold").exists():
        time.sleep(HOLD_SECONDS)


def _reached(point: str, job_id: str, batch: int) -> str | None:
    """Note that a batch has come to a point; take a fault there and return its action."""
    if not job_id:  # the engine warms up
        return None
    _note("trace", f"{time.time():.6f} {os.getpid()} {point} {job_id} {batch}")
    for fault in sorted((_folder / "placed").glob(f"{job_id}.{batch}.{point}.*")):
        try:
            fault.rename(_folder / "taken" / fault.name)
        except FileNotFoundError:  # another worker was quicker
            continue
        _note("struck", f"{time.time():.6f} {os.getpid()} {fault.name}")
        return fault.name.split(".")[3]
    return None


def _note(file: str, line: str) -> None:
    descriptor = os.open(_folder / file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())  # one write, so that lines never mix
    finally:
        os.close(descriptor)
