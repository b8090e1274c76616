"""What boot found out about the engines: which one explains which model. A small file that api and monitor read.

A file, because the monitor does without NumPy and so cannot look into the compiled models itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import orjson

#: The engine that needs nothing but XGBoost, and can explain every model.
XGBOOST = "xgboost"


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """The engines of `tree_path_dependent`.

    `engine` explains what can be compiled here; `models` tells each model's own, by NAME@VERSION, and `reasons`
    why one has XGBoost's where others would have a faster one.
    """

    engine: str = XGBOOST
    models: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def of(self, model: str) -> str:
        """Return the engine of a model, by NAME@VERSION."""
        return self.models.get(model, XGBOOST)

    def write(self, path: Path) -> None:
        """Write it at once. Raises OSError."""
        aside = path.with_suffix(".new")
        aside.write_bytes(orjson.dumps(asdict(self)))
        aside.rename(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it; where there is none, or none that is understood, XGBoost explains everything."""
        try:
            return cls(**orjson.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return cls()
