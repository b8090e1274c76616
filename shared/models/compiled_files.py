"""The files of compiled models: one for each method, named after all that it was made of."""

from __future__ import annotations

from pathlib import Path

from shared.jobs.document import Method
from shared.models.version import ModelVersion
from shared.treeshap.table_file import table_path


def compiled_key(version: ModelVersion, method: Method) -> str | None:
    """Name what a method's tables are made of, so that others are never taken for them; None without background rows."""
    contract = version.contract
    model = contract.sha256
    if contract.trees is not None and contract.trees.used < contract.trees.total:
        model = f"{model}-{contract.trees.used}"
    if method is Method.TREE_PATH_DEPENDENT:
        return model
    return f"{model}-{contract.background.sha256}" if contract.background else None


def compiled_path(version: ModelVersion, method: Method, folder: Path) -> Path | None:
    """Return where a method's tables are kept; None without background rows."""
    key = compiled_key(version, method)
    return None if key is None else table_path(folder, key)
