"""The compiled engine, for `tree_path_dependent`: tables made at activation, and kernels in C (shared/treeshap).

Nothing here needs XGBoost. The file is mapped read-only, so all workers share its pages.
"""

from __future__ import annotations

from pathlib import Path

from services.worker.engines.engine import Matrix
from shared.model_version import ModelVersion
from shared.treeshap.activated import find_explainer
from shared.treeshap.explainer import Explainer


class CompiledEngine:
    """One compiled model."""

    def __init__(self, explainer: Explainer) -> None:
        self._explainer = explainer

    @classmethod
    def find(cls, version: ModelVersion, folder: Path) -> CompiledEngine | None:
        """Load a model's tables from `folder`; None if it was not compiled, or its file is no good any more."""
        explainer = find_explainer(version, folder)
        return None if explainer is None else cls(explainer)

    def explain(self, rows: Matrix) -> Matrix:
        """Return contributions, base value and margin: (rows, outputs, features + 2)."""
        return self._explainer.explain(rows)
