"""Removes a version of a model from the models' folder."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

from shared.errors import ModelFaultError
from shared.models.contract import NAME_PATTERN, VERSION_PATTERN
from shared.models.version import version_folders

#: Which is the highest version that was removed of each name: a version's number never means another model.
REMOVED_FILE = ".removed-versions.json"


def remove_model(models_dir: Path, wanted: str) -> list[str]:
    """Remove `NAME@VERSION`, and NAME's folder if it is the last; return the versions left.

    The folder is renamed aside first, so it is there whole or not at all. Raises ModelFaultError if there is no such version,
    OSError if the disk refuses.
    """
    name, _, version = wanted.partition("@")
    folder = models_dir / name / version
    valid = NAME_PATTERN.fullmatch(name) and VERSION_PATTERN.fullmatch(version)
    if not valid or not folder.is_dir():
        raise ModelFaultError(_not_there(models_dir, wanted, name, version))
    _note_removed(models_dir, name, int(version))
    aside = Path(tempfile.mkdtemp(prefix=".removing-", dir=folder.parent))
    try:
        folder.rename(aside / version)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(OSError):  # it is not empty
        folder.parent.rmdir()
    return _versions(models_dir, name)


def removed_versions(models_dir: Path) -> dict[str, int]:
    """Return the highest removed version of each name. Raises ModelFaultError if unreadable."""
    path = models_dir / REMOVED_FILE
    try:
        return {str(name): int(version) for name, version in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelFaultError(
            f"{path} is damaged ({error}). Restore it from version control, or delete it."
        ) from error


def _note_removed(models_dir: Path, name: str, version: int) -> None:
    removed = removed_versions(models_dir)
    removed[name] = max(version, removed.get(name, 0))
    aside = models_dir / f"{REMOVED_FILE}.new"
    aside.write_text(json.dumps(removed, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    aside.rename(models_dir / REMOVED_FILE)


def _not_there(models_dir: Path, wanted: str, name: str, version: str) -> str:
    there = _versions(models_dir, name)
    if not version and there:
        return f"Say which version of {name} to remove: {', '.join(there)}."
    everything = there or _versions(models_dir)
    listed = f"There are: {', '.join(everything)}." if everything else f"There is no model in {models_dir}."
    return f"There is no model {wanted!r}, so nothing was removed. {listed}"


def _versions(models_dir: Path, name: str | None = None) -> list[str]:
    folders = [folder for folder in version_folders(models_dir) if folder.is_dir()]
    return [f"{one.parent.name}@{one.name}" for one in folders if name is None or one.parent.name == name]
