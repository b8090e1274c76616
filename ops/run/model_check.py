"""Checks the models' files before the start, and replaces faulty models where allowed."""

from __future__ import annotations

import logging
import shutil

from shared.errors import BootError, ModelFaultError, ModelNotFoundError, ModelRefusedError, ShapboxError
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog, ModelFault, find_faults
from shared.models.placeholder import write_placeholder, write_placeholders
from shared.models.version import LOST_AND_FOUND, version_folders
from shared.settings import Settings

#: The name of a placeholder where no model is known.
NAMELESS = "fallback"
#: The end of the message if a start is refused for its models.
HINT = "With ALLOW_FALLBACK_MODEL=true the appliance starts with a placeholder model, whose values are all 0 and mean nothing."

_log = logging.getLogger(__name__)


def check_models(settings: Settings) -> list[ModelFault]:
    """Check every model's files; make placeholders if ALLOW_FALLBACK_MODEL; return the faults.

    Raises BootError, which names each faulty model and the remedy, if no model is left.
    """
    if (settings.models_dir / LOST_AND_FOUND).exists():
        _log.info("MODELS_DIR/%s is skipped: it belongs to the file system", LOST_AND_FOUND)
    shutil.rmtree(settings.placeholders_dir, ignore_errors=True)  # a repaired model is used again
    faults = find_faults(settings.models_dir)
    if settings.allow_fallback_model:
        _make_placeholders(settings, faults)
    elif {*version_folders(settings.models_dir)} <= {fault.folder for fault in faults}:
        listed = "\n".join(f"  - {fault}" for fault in faults)
        raise BootError(f"These models cannot be used:\n{listed}\n{HINT}")
    return faults


def require_ready_models(settings: Settings, activations: Activations) -> int:
    """Return how many versions are ready. Raises BootError if none is, or not the default."""
    try:
        catalog = ModelCatalog.load(settings.models_dir, settings.placeholders_dir, activations)
        if settings.default_model is not None:
            catalog.get(settings.default_model)
    except ModelFaultError as error:
        raise BootError(f"No model can be served:\n{error}") from error
    except (ModelNotFoundError, ModelRefusedError) as error:
        raise BootError(f"DEFAULT_MODEL cannot be served: {error}\n{HINT}") from error
    return len(catalog)


def _make_placeholders(settings: Settings, faults: list[ModelFault]) -> None:
    """Replace each faulty model, and DEFAULT_MODEL if it is missing.

    There is at least one model then. XGBoost, which this needs, leaves the memory when this process becomes supervisord.
    """
    models_dir, placeholders_dir = settings.models_dir, settings.placeholders_dir
    try:
        made = write_placeholders(models_dir, placeholders_dir, faults)
        names = {folder.parent.name for folder in version_folders(models_dir)} | {one.name for one in made}
        name, _, version = (settings.default_model or "").partition("@")
        if (name and name not in names) or not names:
            made.append(write_placeholder(models_dir, placeholders_dir, name or NAMELESS, int(version or 1)))
    except (ShapboxError, OSError, ValueError) as error:
        raise BootError(f"No placeholder model could be made: {error}") from error
    for fault in faults:
        _log.warning("faulty: %s", fault)
    for one in made:
        _log.warning("a placeholder model is served as %s, its values mean nothing", one.id)
