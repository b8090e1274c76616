"""Version, commit, and the versions of the libraries behind the values."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from shared.child_environment import child_environment

#: The version of Shapbox, the same as in pyproject.toml.
VERSION = "0.2.0"
#: The folder that holds the packages, the models and supervisord.conf.
ROOT = Path(__file__).resolve().parent.parent


def git_commit(environment: Mapping[str, str]) -> str:
    """Return the commit as given by Render or the image's build, else by git, else "unknown"."""
    for name in ("RENDER_GIT_COMMIT", "SHAPBOX_COMMIT"):
        if commit := environment.get(name, "").strip():
            return commit
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        return subprocess.check_output(  # noqa: S603  # fixed arguments, no shell
            command, stderr=subprocess.DEVNULL, env=child_environment(environment), text=True, timeout=2
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def library_versions() -> dict[str, str]:
    """Return the versions of xgboost and shap from their metadata, without importing them."""
    return {"xgboost": metadata.version("xgboost-cpu"), "shap": metadata.version("shap")}
