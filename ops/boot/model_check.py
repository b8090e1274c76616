"""No appliance starts with a model that is not what its manifest says, unless a stand-in was asked for."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys

from shared.build import ROOT
from shared.errors import BootError, ModelNotFoundError
from shared.models.catalog import ModelCatalog, find_faults
from shared.settings import Settings

#: Seconds that making the stand-ins may take.
STANDIN_SECONDS = 60

_log = logging.getLogger(__name__)


def check_models(settings: Settings) -> int:
    """Check every model, make stand-ins where ALLOW_FALLBACK_MODEL is set; return how many models there are.

    Raises BootError that names each faulty model and the remedy.
    """
    shutil.rmtree(settings.standins_dir, ignore_errors=True)  # a mended model is used again
    faults = [str(fault) for fault in find_faults(settings.models_dir)]
    if not faults:
        faults = _missing_default(settings)
    if faults and not settings.allow_fallback_model:
        raise BootError(_refusal(faults))
    if faults:
        _make_standins(settings, faults)
    return len(ModelCatalog.load(settings.models_dir, settings.standins_dir))


def _missing_default(settings: Settings) -> list[str]:
    if settings.default_model is None:
        return []
    try:
        ModelCatalog.load(settings.models_dir, settings.standins_dir).get(settings.default_model)
    except ModelNotFoundError as error:
        return [f"DEFAULT_MODEL: {error}"]
    return []


def _refusal(faults: list[str]) -> str:
    return (
        "These models cannot be used:\n"
        + "\n".join(f"  - {fault}" for fault in faults)
        + "\nWith ALLOW_FALLBACK_MODEL=true the appliance starts with a stand-in, whose values mean nothing."
    )


def _make_standins(settings: Settings, faults: list[str]) -> None:
    """Let the worker's code make the stand-ins, in a process of its own: xgboost must not stay in ours."""
    for fault in faults:
        _log.warning("a stand-in replaces a model, its values mean nothing: %s", fault)
    command = [sys.executable, "-m", "ops.boot.make_standins"]
    command += [str(folder.absolute()) for folder in (settings.models_dir, settings.standins_dir)]
    command += [settings.default_model] if settings.default_model else []
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=STANDIN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BootError(
            f"No stand-in was made within {STANDIN_SECONDS} s: restore the models instead."
        ) from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-5:]
        raise BootError("No stand-in could be made:\n" + "\n".join(lines) + "\n" + _refusal(faults))
