"""The files of compiled models: one for each method, named after all that it was made of."""

from __future__ import annotations

from pathlib import Path

from shared.jobs.document import Method
from shared.models.version import ModelVersion
from shared.treeshap.table_file import table_path


def compiled_key(version: ModelVersion, method: Method) -> str | None:
    """Name what a method's tables are made of, so that others are never taken for them; None without background rows."""
    manifest = version.contract
    if method is Method.TREE_PATH_DEPENDENT:
        return manifest.sha256
    return f"{manifest.sha256}-{manifest.background.sha256}" if manifest.background else None


def compiled_path(version: ModelVersion, method: Method, folder: Path) -> Path | None:
    """Return where a method's tables are kept; None without background rows."""
    key = compiled_key(version, method)
    return None if key is None else table_path(folder, key)
