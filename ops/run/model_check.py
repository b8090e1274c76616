"""Checks the models' files before the start, and replaces faulty models where allowed."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys

from shared.build import ROOT
from shared.errors import BootError, ModelFaultError, ModelNotFoundError, ModelRefusedError
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog, ModelFault, find_faults
from shared.models.version import version_folders
from shared.settings import Settings

#: Seconds that making the placeholders may take.
PLACEHOLDER_SECONDS = 60

_log = logging.getLogger(__name__)


def check_models(settings: Settings) -> list[ModelFault]:
    """Check every model's files; make placeholders if ALLOW_FALLBACK_MODEL; return the faults.

    A model whose files are at fault is refused, and the others are served. Raises BootError, which names each faulty model and the
    remedy, if no model is left or DEFAULT_MODEL is not there.
    """
    shutil.rmtree(settings.placeholders_dir, ignore_errors=True)  # a repaired model is used again
    faults = find_faults(settings.models_dir)
    missing = _missing_default(settings, faults)
    texts = [*map(str, faults), *missing]
    if texts and settings.allow_fallback_model:
        _make_placeholders(settings, texts)
    elif missing or (faults and not _some_are_whole(settings, faults)):
        raise BootError(_refusal(texts))
    return faults


def require_ready_models(settings: Settings, activations: Activations) -> int:
    """Return how many versions are ready. Raises BootError if none is, or not the default."""
    try:
        catalog = ModelCatalog.load(settings.models_dir, settings.placeholders_dir, activations)
    except ModelFaultError as error:
        raise BootError(f"No model can be served:\n{error}") from error
    if settings.default_model is not None:
        try:
            catalog.get(settings.default_model)
        except (ModelNotFoundError, ModelRefusedError) as error:
            raise BootError(f"DEFAULT_MODEL cannot be served: {error}") from error
    return len(catalog)


def _some_are_whole(settings: Settings, faults: list[ModelFault]) -> bool:
    faulty = {fault.folder for fault in faults}
    return any(folder not in faulty for folder in version_folders(settings.models_dir))


def _missing_default(settings: Settings, faults: list[ModelFault]) -> list[str]:
    """Say what is wrong with DEFAULT_MODEL: missing, or faulty without a placeholder."""
    name, _, number = (settings.default_model or "").partition("@")
    if not name:
        return []
    faulty = {fault.folder for fault in faults}
    folders = [one for one in version_folders(settings.models_dir) if one.parent.name == name]
    wanted = [one for one in folders if not number or one.name == number]
    if not wanted:
        there_are = ", ".join(f"{one.parent.name}@{one.name}" for one in version_folders(settings.models_dir))
        return [f"DEFAULT_MODEL: There is no model {name[:80]!r}. Use one of: {there_are or 'none yet'}."]
    if all(one in faulty for one in wanted):
        return [f"DEFAULT_MODEL: {settings.default_model} is among the models that cannot be used"]
    return []


def _refusal(faults: list[str]) -> str:
    return (
        "These models cannot be used:\n"
        + "\n".join(f"  - {fault}" for fault in faults)
        + "\nWith ALLOW_FALLBACK_MODEL=true the appliance starts with a placeholder model, whose values are all 0 and mean nothing."
    )


def _make_placeholders(settings: Settings, faults: list[str]) -> None:
    """Make the placeholders in a child process, which keeps xgboost out of this one."""
    for fault in faults:
        _log.warning("a placeholder model replaces a faulty one, its values mean nothing: %s", fault)
    command = [sys.executable, "-m", "ops.run.make_placeholders"]
    command += [str(folder.absolute()) for folder in (settings.models_dir, settings.placeholders_dir)]
    command += [settings.default_model] if settings.default_model else []
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=PLACEHOLDER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BootError(
            f"No placeholder model was made within {PLACEHOLDER_SECONDS} s: restore the models instead."
        ) from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-5:]
        raise BootError("No placeholder model could be made:\n" + "\n".join(lines) + "\n" + _refusal(faults))
