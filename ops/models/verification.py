"""Verifies the models in a folder: their files byte by byte, then each model against its manifest."""

from __future__ import annotations

from pathlib import Path

from services.worker.model_inspection import find_model_faults
from shared.models.catalog import ModelFault, find_faults
from shared.models.version import read_version, version_folders


def verify_models(models_dir: Path) -> list[ModelFault]:
    """Check every model: its files byte by byte, then, where they are whole, by loading and explaining with it.

    Models are loaded in a process of their own, so a bad one cannot crash the caller.
    """
    faults = find_faults(models_dir)
    faulty = {fault.folder for fault in faults}
    whole = [read_version(folder) for folder in version_folders(models_dir) if folder not in faulty]
    return faults + find_model_faults(whole)
