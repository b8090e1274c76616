"""Makes engines that are wrong by a little: the errors that nobody sees who does not compare."""

from __future__ import annotations

import os
from functools import wraps
from types import ModuleType
from typing import Any

#: How far values are off.
OFF = 1e-3


def wire(module: ModuleType) -> None:
    """Have XGBoostEngine give wrong values for the models that SHAPBOX_TEST_WRONG_VALUES names, `NAME=HOW,…`.

    `sum` adds to the first feature; `swap` takes the same from the second, so that all adds up.
    """
    how = dict(pair.split("=") for pair in os.environ["SHAPBOX_TEST_WRONG_VALUES"].split(","))
    engine_class = module.XGBoostEngine
    load, explain = engine_class.load, engine_class.explain

    @wraps(load)
    def load_and_note(model_path: Any, outputs: int) -> Any:
        engine = load(model_path, outputs)
        engine.wrong = how.get(model_path.parent.parent.name)
        return engine

    @wraps(explain)
    def explain_wrongly(engine: Any, rows: Any) -> Any:
        result = explain(engine, rows)
        if engine.wrong:
            result[:, :, 0] += OFF
        if engine.wrong == "swap":
            result[:, :, 1] -= OFF
        return result

    engine_class.load, engine_class.explain = load_and_note, explain_wrongly
