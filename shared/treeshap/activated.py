"""Compiled models as activation left them in a folder: found again, by the workers and by the api."""

from __future__ import annotations

import logging
from pathlib import Path

from shared.jobs.document import Method
from shared.models.activation.records import is_compiled
from shared.models.compiled_files import compiled_key
from shared.models.version import ModelVersion
from shared.treeshap.explainer import Explainer
from shared.treeshap.library import find_library
from shared.treeshap.table_file import TableFileError, read_tables, table_path

logger = logging.getLogger(__name__)


def find_explainer(
    version: ModelVersion, folder: Path, method: Method = Method.TREE_PATH_DEPENDENT
) -> Explainer | None:
    """Map a model's tables in `folder`; None if it was not compiled for the method, or its file is no good any more."""
    library = find_library()
    key = compiled_key(version, method)
    if library is None or key is None or not _found_right(version, method):
        return None
    path = table_path(folder, key)
    if not path.exists():
        return None
    try:
        return Explainer(read_tables(path, key), library)
    except (TableFileError, OSError) as fault:
        # The next start makes it again.
        logger.error(  # noqa: TRY400  # the message says all
            "compiled model refused",
            extra={"model": version.id, "method": method.value, "cause": str(fault)},
        )
        return None


def _found_right(version: ModelVersion, method: Method) -> bool:
    """Tell whether activation found the tables right, or has not looked: a file may be left of another build."""
    return version.activation is None or is_compiled(version.method_record(method))
