"""Verifies a folder's models: their bytes, then the outcome of an activation here."""

from __future__ import annotations

import tempfile
from pathlib import Path

from shared.models.activation.activate import Limits, activate_version
from shared.models.activation.records import VersionRecord
from shared.models.catalog import ModelFault, find_faults
from shared.models.contract import remedy_for
from shared.models.version import read_version, version_folders
from shared.settings import Settings


def verify_models(models_dir: Path) -> list[ModelFault]:
    """Check every model's files, then activate those that are whole; return what is wrong."""
    return activate_all(models_dir)[0]


def activate_all(models_dir: Path) -> tuple[list[ModelFault], dict[Path, VersionRecord]]:
    """Do the same, and return also how each activation ended, by the version's folder.

    The appliance's default limits hold. Models are loaded in processes of their own, and what is compiled is not kept.
    """
    faults = find_faults(models_dir)
    faulty = {fault.folder for fault in faults}
    defaults = Settings()
    limits = Limits(defaults.activation_growth_mb, defaults.activation_seconds)
    records = {}
    with tempfile.TemporaryDirectory(prefix="shapbox-verify-") as scratch:
        for folder in version_folders(models_dir):
            if folder in faulty:
                continue
            version = read_version(folder)
            records[folder] = record = activate_version(version, Path(scratch), limits, "")
            if record.reason is not None:
                faults.append(
                    ModelFault(version.id, folder, record.reason.removesuffix("."), remedy_for(folder))
                )
    return faults, records
