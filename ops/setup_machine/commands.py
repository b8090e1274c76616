"""Runs other programs, installs Debian's packages, and says in clear words what failed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The remedy where no package index is reached.
OFFLINE_REMEDY = (
    "If the network is at fault: pip's and uv's settings for a mirror are used here "
    "(PIP_INDEX_URL, UV_DEFAULT_INDEX, UV_PYTHON_INSTALL_MIRROR)."
)
#: Variables that would send a program to another Python or environment than ours.
MISLEADING = "PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV PYTHONHOME PYTHONPATH VIRTUAL_ENV"
APT = "env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
#: Debian asks this program whether a freshly installed service may start; 101 means no.
POLICY_FILE = Path("/usr/sbin/policy-rc.d")
_POLICY = f"printf '#!/bin/sh\\nexit 101\\n' > {POLICY_FILE} && chmod 755 {POLICY_FILE}"


class SetupError(Exception):
    """The machine cannot be made ready. The message says what to do."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this environment without variables that mislead, and with `extra`."""
    kept = {name: value for name, value in os.environ.items() if name not in MISLEADING.split()}
    return {**kept, **(extra or {})}


def output_of(*command: str, seconds: float = 20.0) -> str | None:
    """Return what a program prints, or None if it cannot be run, fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=clean_environment(),
            timeout=seconds,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")


def run(title: str, *command: str, extra: Mapping[str, str] | None = None) -> None:
    """Run a program with its output shown; raises SetupError if it fails."""
    print(f"{title} …", flush=True)
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, env=clean_environment(extra), check=True)
    except OSError as error:
        raise SetupError(f"{command[0]} cannot be run: {error}") from error
    except subprocess.CalledProcessError as error:
        said = f"{title}: `{' '.join(command[:6])} …` failed with {error.returncode}, and says above why."
        raise SetupError(f"{said}\n{OFFLINE_REMEDY}") from error


def can_install() -> bool:
    """Tell whether apt-get is here and we may use it without being asked for a password."""
    return bool(shutil.which("apt-get")) and _privilege() is not None


def install(*packages: str) -> None:
    """Install Debian packages without starting their services; raises SetupError if that fails."""
    sudo = _privilege() or []
    run("Reading apt's package lists", *sudo, "apt-get", "update", "-qq")
    keep_down = not POLICY_FILE.exists()
    if keep_down:
        output_of(*sudo, "sh", "-c", _POLICY)
    try:
        run(f"Installing {' and '.join(packages)} with apt-get", *sudo, *APT.split(), *packages)
    finally:
        if keep_down:
            output_of(*sudo, "rm", "-f", str(POLICY_FILE))


def _privilege() -> list[str] | None:
    """Return what a command that needs root begins with; None if we cannot be root."""
    if os.geteuid() == 0:
        return []
    can = shutil.which("sudo") and output_of("sudo", "-n", "true") is not None
    return ["sudo", "-n"] if can else None
