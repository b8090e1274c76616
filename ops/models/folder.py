"""The folder of models: lists its versions, verifies them, and removes one."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

from shared.errors import ModelFaultError
from shared.models.activation.activate import Limits, activate_version
from shared.models.activation.records import Activations, VersionRecord
from shared.models.catalog import ModelCatalog, ModelFault, find_faults
from shared.models.contract import NAME_PATTERN, VERSION_PATTERN, FileEntry, remedy_for
from shared.models.version import ModelVersion, read_version, version_folders
from shared.settings import Settings

#: Which is the highest version that was removed of each name: a version's number never means another model.
REMOVED_FILE = ".removed-versions.json"
_HEADER = ("MODEL", "STATE", "FEATURES", "OUTPUTS", "OBJECTIVE", "TREES", "BACKGROUND", "EXAMPLES", "SHA256")
#: Outputs that the list names, and characters of a hash.
_OUTPUTS, _HASH = 3, 12


def list_models(models_dir: Path, activations: Activations) -> tuple[str, bool]:
    """Return a table of all models with the reasons of refusals, and whether there is any.

    Raises ModelFaultError with the reasons if none can be served.
    """
    catalog = ModelCatalog.load(models_dir, activations=activations)
    rows = [_HEADER, *map(_row, catalog.versions())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    for version in catalog.versions():
        for name, record in version.activation.methods.items() if version.activation else ():
            if record.engine is None:
                lines.append(f"{version.id} is not explained by {name}: {record.reason}")
    lines += [f"{one.id} is refused: {one.reason}" for one in catalog.refused()]
    return "\n".join(lines), bool(catalog.refused())


def _row(version: ModelVersion) -> tuple[str, ...]:
    contract, trees = version.contract, version.contract.trees
    return (
        version.id,
        version.activation.state.value if version.activation else "not activated",
        str(len(contract.features)),
        ", ".join(contract.outputs[:_OUTPUTS]) + (" …" if len(contract.outputs) > _OUTPUTS else ""),
        contract.objective,
        f"{trees.used} of {trees.total}" if trees and trees.total else "-",
        _rows(contract.background),
        _rows(contract.examples),
        contract.sha256[:_HASH],
    )


def _rows(entry: FileEntry | None) -> str:
    return f"{entry.rows} rows" if entry else "-"


def verify_models(models_dir: Path) -> tuple[list[ModelFault], dict[Path, VersionRecord]]:
    """Check every model's files, then activate those that are whole, within the default limits.

    Returns the faults, and how each activation ended, by the version's folder. Nothing that is compiled is kept.
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
                what = record.reason.removesuffix(".")
                faults.append(ModelFault(version.id, folder, what, remedy_for(folder)))
    return faults, records


def remove_model(models_dir: Path, wanted: str) -> str:
    """Remove `NAME@VERSION`, and NAME's folder if it is the last; say what is left.

    The folder is renamed aside first, so it is there whole or not at all. Raises ModelFaultError if there is no such
    version, OSError if the disk refuses.
    """
    name, _, version = wanted.partition("@")
    folder = models_dir / name / version
    if not (NAME_PATTERN.fullmatch(name) and VERSION_PATTERN.fullmatch(version) and folder.is_dir()):
        there = ", ".join(_versions(models_dir)) or "none"
        raise ModelFaultError(
            f"There is no model {wanted!r}, so nothing was removed. There are: {there}. Give NAME@VERSION."
        )
    removed = removed_versions(models_dir)
    removed[name] = max(int(version), removed.get(name, 0))
    note = models_dir / f"{REMOVED_FILE}.new"
    note.write_text(json.dumps(removed, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    note.rename(models_dir / REMOVED_FILE)
    aside = Path(tempfile.mkdtemp(prefix=".removing-", dir=folder.parent))
    try:
        folder.rename(aside / version)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(OSError):  # it is not empty
        folder.parent.rmdir()
    left = ", ".join(_versions(models_dir)) or "none, and the appliance needs one to start"
    return f"Removed {wanted}. Restart or deploy the appliance to stop serving it. Models left: {left}."


def removed_versions(models_dir: Path) -> dict[str, int]:
    """Return the highest removed version of each name. Raises ModelFaultError if unreadable."""
    path = models_dir / REMOVED_FILE
    try:
        return {str(name): int(version) for name, version in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        advice = "Restore it from version control, or delete it."
        raise ModelFaultError(f"{path} is damaged ({error}). {advice}") from error


def _versions(models_dir: Path) -> list[str]:
    folders = [folder for folder in version_folders(models_dir) if folder.is_dir()]
    return [f"{one.parent.name}@{one.name}" for one in folders]
