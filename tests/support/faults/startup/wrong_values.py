"""Makes engines slightly wrong: errors that only a comparison shows."""

from __future__ import annotations

import os
from functools import wraps
from types import ModuleType
from typing import Any

#: How far values are off.
OFF = 1e-3


def wire_xgboost(module: ModuleType) -> None:
    """Have XGBoostEngine give wrong values, see `_falsify`."""
    _wire(module.XGBoostEngine, "load")


def wire_compiled(module: ModuleType) -> None:
    """Have CompiledEngine give wrong values, in the workers and in the api, see `_falsify`."""
    _wire(module.CompiledEngine, "find")


def _wire(engine_class: Any, name: str) -> None:
    make = getattr(engine_class, name)

    @wraps(make)
    def make_and_note(version: Any, *more: Any) -> Any:
        engine = make(version, *more)
        if engine is not None:
            engine.wrong = _how_wrong(version.name)
        return engine

    setattr(engine_class, name, make_and_note)
    _falsify(engine_class)


def _how_wrong(model: str) -> str | None:
    return dict(pair.split("=") for pair in os.environ["SHAPBOX_TEST_WRONG_VALUES"].split(",")).get(model)


def _falsify(engine_class: Any) -> None:
    """Give wrong values for the models that SHAPBOX_TEST_WRONG_VALUES names, `NAME=HOW,…`.

    `sum` adds to the first feature; `swap` takes the same from the second, so that all adds up.
    """
    explain = engine_class.explain

    @wraps(explain)
    def explain_wrongly(engine: Any, rows: Any) -> Any:
        result = explain(engine, rows)
        if engine.wrong:
            result.values[:, :, 0] += OFF
        if engine.wrong == "swap":
            result.values[:, :, 1] -= OFF
        return result

    engine_class.explain = explain_wrongly
