"""What boot found out about the engines: which one explains which model. A small file that api and monitor read.

A file, because the monitor does without NumPy and so cannot look into the compiled models itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import orjson

from shared.jobs.document import Method

#: The engine that needs nothing but XGBoost, and can explain every model.
XGBOOST = "xgboost"
#: The engine of `interventional` where nothing is compiled.
SHAP = "shap"


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """The engines: XGBoost's or shap's for what is not compiled.

    `engine` explains what can be compiled here; `models` tells each model's own for `tree_path_dependent`, by
    NAME@VERSION, and `reasons` why one has XGBoost's where others would have a faster one. `interventional` and
    `interventional_reasons` tell the same of that method and shap, for models that have background rows.
    """

    engine: str = XGBOOST
    models: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    interventional: Mapping[str, str] = field(default_factory=dict)
    interventional_reasons: Mapping[str, str] = field(default_factory=dict)

    def of(self, model: str, method: Method = Method.TREE_PATH_DEPENDENT) -> str:
        """Return the engine of a model, by NAME@VERSION, that has what the method needs."""
        if method is Method.INTERVENTIONAL:
            return self.interventional.get(model, SHAP)
        return self.models.get(model, XGBOOST)

    def best(self) -> dict[str, str]:
        """Return the engine of each method for what can be compiled here."""
        interventional = SHAP if self.engine == XGBOOST else self.engine
        return {Method.TREE_PATH_DEPENDENT.value: self.engine, Method.INTERVENTIONAL.value: interventional}

    def write(self, path: Path) -> None:
        """Write it at once. Raises OSError."""
        aside = path.with_suffix(".new")
        aside.write_bytes(orjson.dumps(asdict(self)))
        aside.rename(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it; where there is none, or none that is understood, XGBoost and shap explain everything."""
        try:
            return cls(**orjson.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return cls()
