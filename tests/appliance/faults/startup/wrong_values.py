"""Makes engines that are wrong by a little: the errors that nobody sees who does not compare."""

from __future__ import annotations

import os
from functools import wraps
from types import ModuleType
from typing import Any

#: How far values are off.
OFF = 1e-3


def wire_xgboost(module: ModuleType) -> None:
    """Have XGBoostEngine give wrong values, see `_falsify`."""
    engine_class = module.XGBoostEngine
    load = engine_class.load

    @wraps(load)
    def load_and_note(version: Any) -> Any:
        engine = load(version)
        engine.wrong = _how_wrong(version.name)
        return engine

    engine_class.load = load_and_note
    _falsify(engine_class)


def wire_compiled(module: ModuleType) -> None:
    """Have compiled models give wrong values, in the workers and in the api, see `_falsify`."""
    find = module.find_explainer

    @wraps(find)
    def find_and_note(version: Any, *more: Any) -> Any:
        explainer = find(version, *more)
        if explainer is not None:
            explainer.wrong = _how_wrong(version.name)
        return explainer

    module.find_explainer = find_and_note  # type: ignore[attr-defined]  # a function of that module
    _falsify(module.Explainer)


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
            result[:, :, 0] += OFF
        if engine.wrong == "swap":
            result[:, :, 1] -= OFF
        return result

    engine_class.explain = explain_wrongly
