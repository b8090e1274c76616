"""Compiled models as activation left them in a folder: found again, by the workers and by the api."""

from __future__ import annotations

import logging
from pathlib import Path

from shared.model_version import ModelVersion
from shared.treeshap.explainer import Explainer
from shared.treeshap.library import find_library
from shared.treeshap.table_file import TableFileError, read_tables, table_path

logger = logging.getLogger(__name__)


def find_explainer(version: ModelVersion, folder: Path) -> Explainer | None:
    """Map a model's tables in `folder`; None if it was not compiled, or its file is no good any more."""
    library = find_library()
    sha256 = version.manifest.sha256
    path = table_path(folder, sha256)
    if library is None or not path.exists():
        return None
    try:
        return Explainer(read_tables(path, sha256), library)
    except (TableFileError, OSError) as fault:
        # The next start makes it again.
        logger.error("compiled model refused", extra={"model": version.id, "cause": str(fault)})  # noqa: TRY400  # the message says all
        return None
