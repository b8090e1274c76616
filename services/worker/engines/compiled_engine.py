"""The compiled engine, for `tree_path_dependent`: tables made at activation, and kernels in C (shared/treeshap).

Nothing here needs XGBoost. The file is mapped read-only, so all workers share its pages.
"""

from __future__ import annotations

import logging
from pathlib import Path

from services.worker.engines.engine import Matrix
from shared.model_version import ModelVersion
from shared.treeshap.explainer import Explainer
from shared.treeshap.library import find_library
from shared.treeshap.table_file import TableFileError, read_tables, table_path

logger = logging.getLogger(__name__)


class CompiledEngine:
    """One compiled model."""

    def __init__(self, explainer: Explainer) -> None:
        self._explainer = explainer

    @classmethod
    def find(cls, version: ModelVersion, folder: Path) -> CompiledEngine | None:
        """Load a model's tables from `folder`; None if it was not compiled, or its file is no good any more."""
        library = find_library()
        sha256 = version.manifest.sha256
        path = table_path(folder, sha256)
        if library is None or not path.exists():
            return None
        try:
            return cls(Explainer(read_tables(path, sha256), library))
        except (TableFileError, OSError) as fault:
            # The next start makes it again.
            logger.error("compiled model refused", extra={"model": version.id, "cause": str(fault)})  # noqa: TRY400  # the message says all
            return None

    def explain(self, rows: Matrix) -> Matrix:
        """Return contributions, base value and margin: (rows, outputs, features + 2)."""
        return self._explainer.explain(rows)
