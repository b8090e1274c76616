"""Faults at exact places of a worker's work, for one batch each.

Why is this a test of production code? The worker is the one that supervisord starts, and every line of it
runs. The additions stand between two of its calls, where the kernel could also strike: before it claims a
batch, before it reads the input, while the engine computes, after the result is stored, after it is
recorded. The calls themselves are passed on as they are, with their answers. No line of production code asks
whether it is tested.

A fault is a file, FOLDER/placed/JOB.BATCH.POINT.ACTION.NUMBER. The first process that comes by takes it by renaming it,
which only one process can do, so that each file makes exactly one fault.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import placed_actions  # type: ignore[import-not-found]  # beside this file, on the worker's PYTHONPATH only

type Call = Callable[..., Any]

#: Seconds between two looks whether the test lets the workers go on.
HOLD_SECONDS = 0.005
#: Seconds that a native call runs before the kill comes.
INSIDE_SECONDS = 0.005

#: Where the faults lie; set by `install`.
_folder = Path()
#: The current batch: the engine is not told which one it explains.
_at_hand = ("", -1)


def install(folder: str) -> None:
    """Have the points wired into the worker's modules as soon as they are imported."""
    global _folder  # noqa: PLW0603  # one process, one folder
    _folder = Path(folder)
    sys.meta_path.insert(0, _Finder())


def disarm() -> None:
    """Disable the memory guard and the workers' own limit: only the kernel is left to act."""
    _WIRING["services.monitor.guard.guard"] = _wire_guard
    _WIRING["services.worker.exits"] = _wire_memory_cap
    sys.meta_path.insert(0, _Finder())


def falsify() -> None:
    """Have engines give wrong values, and nothing else: there is no folder for faults."""
    _WIRING.clear()
    wrong_values = importlib.import_module("wrong_values")
    _WIRING["shared.engines.xgboost_engine"] = wrong_values.wire_xgboost
    _WIRING["shared.engines.compiled_engine"] = wrong_values.wire_compiled
    sys.meta_path.insert(0, _Finder())


def leak_in_each_batch(mb: int) -> None:
    """Leave memory behind with each result: there is no folder for faults."""
    if "wrong_values" not in sys.modules:  # `falsify` has cleared it already
        _WIRING.clear()

    def wire(module: ModuleType) -> None:
        put = module.Payloads.put_result

        @wraps(put)
        def leaking(*given: Any, **named: Any) -> Any:
            placed_actions.leak_mb(mb)
            return put(*given, **named)

        module.Payloads.put_result = leaking

    _WIRING["shared.objects.payloads"] = wire
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _WIRING:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Wired(fullname, spec.origin)
        return spec


class _Wired(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _WIRING[module.__name__](module)


def _wire_payloads(module: ModuleType) -> None:
    module.Payloads.rows = _passing(module.Payloads.rows, before="read")
    module.Payloads.put_result = _passing(module.Payloads.put_result, after="stored")


def _wire_transitions(module: ModuleType) -> None:
    module.Transitions.claim = _passing(module.Transitions.claim, before="unclaimed")
    module.Transitions.complete = _passing(module.Transitions.complete, after="recorded")


def _wire_engine(module: ModuleType, name: str = "XGBoostEngine") -> None:
    explain = getattr(module, name).explain

    @wraps(explain)
    def wired(engine: Any, rows: Any) -> Any:
        action = _reached("compute", *_at_hand)
        if action == "kill":  # in native code, wherever that is by then
            threading.Timer(INSIDE_SECONDS, placed_actions.ACTIONS["kill"]).start()
            while True:
                explain(engine, rows)
        if action:
            placed_actions.ACTIONS[action]()
        return explain(engine, rows)

    getattr(module, name).explain = wired


def _wire_compiled_engine(module: ModuleType) -> None:
    _wire_engine(module, "CompiledEngine")


def _wire_timing(module: ModuleType) -> None:
    if seconds := os.environ.get("SHAPBOX_TEST_SHAP_SECONDS"):  # a test has no minute to wait
        module.TIMING = replace(module.TIMING, shap_idle_seconds=float(seconds))  # type: ignore[attr-defined]


def _wire_guard(module: ModuleType) -> None:
    module.Guard._act = lambda *_: None


def _wire_memory_cap(module: ModuleType) -> None:
    vars(module)["limit_growth"] = lambda _: None


_WIRING: dict[str, Callable[[ModuleType], None]] = {
    "shared.objects.payloads": _wire_payloads,
    "shared.jobs.transitions": _wire_transitions,
    "shared.engines.xgboost_engine": _wire_engine,
    "shared.engines.compiled_engine": _wire_compiled_engine,
    "shared.timing": _wire_timing,
}


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
    global _at_hand  # noqa: PLW0603  # one worker, one batch
    _at_hand = (job_id, batch)
    if action := _reached(point, job_id, batch):
        placed_actions.ACTIONS[action]()
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
