"""Version, commit, and the versions of the libraries behind the values."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

#: The version of Shapbox, the same as in pyproject.toml.
VERSION = "0.1.0"
#: The folder that holds the packages, the models and supervisord.conf.
ROOT = Path(__file__).resolve().parent.parent


def git_commit(environment: Mapping[str, str]) -> str:
    """Return the commit as given by Render or the image's build, else by git, else "unknown"."""
    for name in ("RENDER_GIT_COMMIT", "SHAPBOX_COMMIT"):
        if commit := environment.get(name, "").strip():
            return commit
    try:
        answer = subprocess.run(  # noqa: S603  # fixed arguments, no shell
            ["git", "-C", str(ROOT), "rev-parse", "HEAD"],  # noqa: S607  # wherever git is
            capture_output=True,
            text=True,
            timeout=2,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return answer.stdout.strip() if answer.returncode == 0 else "unknown"


def library_versions() -> dict[str, str]:
    """Return the versions of xgboost and shap from their metadata, without importing them."""
    return {"xgboost": metadata.version("xgboost-cpu"), "shap": metadata.version("shap")}
