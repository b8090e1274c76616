"""The compiled engine: tables made at activation, for each method its own, and kernels in C (shared/treeshap).

Nothing here needs XGBoost. The file is mapped read-only, so all workers share its pages.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from shared.engines.engine import Matrix
from shared.interactions import Interactions
from shared.jobs.document import Method
from shared.models.version import ModelVersion
from shared.treeshap.activated import find_explainer
from shared.treeshap.explainer import Explainer
from shared.treeshap.forest import NotCoveredError
from shared.treeshap.interactions import InteractionExplainer

logger = logging.getLogger(__name__)


class CompiledEngine:
    """One model, compiled for one method."""

    #: No bound: batches are planned for this engine.
    rows_at_once: int | None = None

    def __init__(self, explainer: Explainer) -> None:
        self._explainer = explainer

    @classmethod
    def find(
        cls, version: ModelVersion, folder: Path, method: Method = Method.TREE_PATH_DEPENDENT
    ) -> CompiledEngine | None:
        """Load a model's tables from `folder`; None if it was not compiled, or its file is no good any more."""
        explainer = find_explainer(version, folder, method)
        return None if explainer is None else cls(explainer)

    def explain(self, rows: Matrix) -> Matrix:
        """Return contributions, base value and margin: (rows, outputs, features + 2)."""
        return self._explainer.explain(rows)

    @functools.cached_property
    def pairs(self) -> InteractionExplainer | None:
        """What explains interactions; made when it is first asked for. None if this model's are not covered."""
        try:
            return InteractionExplainer(self._explainer.compiled, self._explainer.library)
        except (NotCoveredError, MemoryError) as reason:
            logger.warning("XGBoost explains this model's interactions", extra={"cause": str(reason)})
            return None

    def interactions(self, rows: Matrix, values: Matrix, wanted: Interactions) -> Matrix:
        """Return the rows' interactions in the shape that `wanted` tells, where there are `pairs`."""
        assert self.pairs is not None
        if wanted.top_pairs is None:
            return self.pairs.matrices(rows, values)
        return self.pairs.top(rows, wanted.top_pairs)
