"""Lasting changes to a program: other times, wrong values, a leak, no memory guard."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from types import ModuleType
from typing import Any

from hooks import on_import  # type: ignore[import-not-found]  # beside this file, on the programs' PYTHONPATH only

#: How far wrong values are off: only a comparison shows it.
OFF = 1e-3
#: Memory that is never given back.
_kept: list[bytearray] = []


def filled_mb(size: int) -> bytearray:
    """Return so many MB, all pages touched."""
    return bytearray(b"x") * (size << 20)


def keep_mb(size: int) -> None:
    """Take so many MB and never give them back."""
    _kept.append(filled_mb(size))


def set_times(times: str) -> None:
    """Replace times of shared.timing: `NAME=SECONDS,…`."""
    pairs = (pair.split("=") for pair in times.split(","))
    seconds = {name: float(value) for name, value in pairs}

    def change(module: ModuleType) -> None:
        module.TIMING = replace(module.TIMING, **seconds)  # type: ignore[attr-defined]

    on_import("shared.timing", change)


def unguard() -> None:
    """Disable the memory guard and the workers' own limit: only the kernel is left to act."""

    def disable_guard(module: ModuleType) -> None:
        module.Guard._act = lambda *_: None

    def disable_cap(module: ModuleType) -> None:
        vars(module)["limit_growth"] = lambda _: None

    on_import("services.monitor.guard.guard", disable_guard)
    on_import("services.worker.exits", disable_cap)


def crash_after_heartbeat(seconds: float) -> None:
    """End the worker some seconds after its first heartbeat, as a fault in its loop would."""
    on_import(
        "services.worker.heartbeat",
        lambda module: _before(
            module.HeartbeatThread, "start", lambda: threading.Timer(seconds, os._exit, (1,)).start()
        ),
    )


def leak_with_each_result(mb: int) -> None:
    """Keep memory with each result that is stored."""
    on_import(
        "shared.objects.payloads",
        lambda module: _before(module.Payloads, "put_result", lambda: keep_mb(mb)),
    )


def _before(owner: Any, name: str, act: Callable[[], None]) -> None:
    call = getattr(owner, name)

    @wraps(call)
    def acting(*given: Any, **named: Any) -> Any:
        act()
        return call(*given, **named)

    setattr(owner, name, acting)


def falsify(models: str) -> None:
    """Have all engines give wrong values for the named models, `NAME=HOW,…`.

    `sum` adds to the first feature; `swap` takes the same from the second, so that all adds up.
    """
    how = dict(pair.split("=") for pair in models.split(","))
    on_import("shared.engines.xgboost_engine", lambda module: _falsify(module.XGBoostEngine, "load", how))
    on_import("shared.engines.compiled_engine", lambda module: _falsify(module.CompiledEngine, "find", how))


def _falsify(engine_class: Any, factory: str, how: dict[str, str]) -> None:
    make, explain = getattr(engine_class, factory), engine_class.explain

    @wraps(make)
    def make_and_note(version: Any, *more: Any) -> Any:
        engine = make(version, *more)
        if engine is not None:
            engine.wrong = how.get(version.name)
        return engine

    @wraps(explain)
    def explain_wrongly(engine: Any, rows: Any) -> Any:
        result = explain(engine, rows)
        if engine.wrong:
            result.values[:, :, 0] += OFF
        if engine.wrong == "swap":
            result.values[:, :, 1] -= OFF
        return result

    setattr(engine_class, factory, make_and_note)
    engine_class.explain = explain_wrongly
