"""The compiled engine: tables made at activation, and kernels in C (shared/treeshap).

It needs no XGBoost. Each method has a file of tables, mapped read-only, so that all processes share its pages.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from shared.explanation import Explanation, Matrix
from shared.interactions import Interactions
from shared.jobs.document import Method
from shared.models.activation.records import is_compiled
from shared.models.version import ModelVersion
from shared.treeshap.explainer import Explainer, InteractionExplainer
from shared.treeshap.forest import NotCoveredError
from shared.treeshap.library import find_library
from shared.treeshap.table_file import TableFileError, read_tables, table_path

logger = logging.getLogger(__name__)


def tables_path(version: ModelVersion, method: Method, folder: Path) -> Path | None:
    """Return the path of a method's tables in `folder`; None without background rows."""
    key = version.tables_key(method)
    return None if key is None else table_path(folder, key)


class CompiledEngine(Explainer):
    """One model, compiled for one method."""

    #: No limit: batches are planned for this engine.
    rows_at_once: int | None = None

    @classmethod
    def find(
        cls, version: ModelVersion, folder: Path, method: Method = Method.TREE_PATH_DEPENDENT
    ) -> CompiledEngine | None:
        """Map a model's tables for a method; None if there are none, or the file is damaged."""
        library, path = find_library(), tables_path(version, method, folder)
        # The file may be left over from another build, whose tables activation has not verified.
        refused = version.activation is not None and not is_compiled(version.method_record(method))
        if library is None or path is None or refused or not path.exists():
            return None
        try:
            return cls(read_tables(path, version.tables_key(method) or ""), library)
        except (TableFileError, OSError) as fault:  # the next start makes the file again
            names = {"model": version.id, "method": method.value, "cause": str(fault)}
            logger.error("compiled model refused", extra=names)  # noqa: TRY400  # the cause is enough
            return None

    @functools.cached_property
    def pairs(self) -> InteractionExplainer | None:
        """The explainer of interactions, made at the first use; None if they are not covered."""
        try:
            return InteractionExplainer(self.compiled, self.library)
        except (NotCoveredError, MemoryError) as reason:
            logger.warning("XGBoost explains this model's interactions", extra={"cause": str(reason)})
            return None

    def interactions(self, rows: Matrix, explanation: Explanation, wanted: Interactions) -> Matrix:
        """Return the rows' interactions in the shape `wanted.shape`, where there are `pairs`."""
        assert self.pairs is not None
        if wanted.top_pairs is None:
            return self.pairs.matrices(rows, explanation)
        return self.pairs.top(rows, wanted.top_pairs)
