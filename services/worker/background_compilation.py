"""Makes of a compiled model and its background rows the tables of its interventional values."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.worker.engines.xgboost_engine import XGBoostEngine
from services.worker.interventional_trial import try_tables
from services.worker.lean_xgboost import load_booster
from shared.errors import ModelFaultError
from shared.jobs.document import Method
from shared.models.compiled_files import compiled_key
from shared.models.version import ModelVersion
from shared.treeshap.compiled import Compiled
from shared.treeshap.forest import read_forest
from shared.treeshap.interventional import against_background
from shared.treeshap.library import Library
from shared.treeshap.table_file import read_tables, table_path


def compile_against_background(version: ModelVersion, folder: Path, library: Library) -> Compiled:
    """Compile a model, whose path-dependent tables are in `folder`, against its background, and try what comes of it.

    Raises NotCoveredError, ModelFaultError, TableFileError and OSError with the reason why it cannot be.
    """
    key = compiled_key(version, Method.TREE_PATH_DEPENDENT) or ""
    path = table_path(folder, key)
    if not path.exists():
        raise ModelFaultError("the model itself is not compiled")
    background = _read_background(version)
    compiled = against_background(read_tables(path, key), background)
    booster = load_booster(version.model_path)
    forest = read_forest(bytes(booster.save_raw("json")))
    try_tables(compiled, forest, XGBoostEngine(booster, compiled.outputs), background, library)
    return compiled


def _read_background(version: ModelVersion) -> NDArray[np.float32]:
    """Return the rows that the manifest speaks of, and no others: the file is named after them."""
    entry, path = version.contract.background, version.background_path
    if entry is None or path is None:
        raise ModelFaultError("it has no background rows")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ModelFaultError(f"{entry.file} was altered")
    rows = np.asarray(np.load(io.BytesIO(content), allow_pickle=False), dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != len(version.features):
        raise ModelFaultError(f"{entry.file} has not one column for each feature")
    return rows
