"""Installs Debian's packages, as root or with sudo, without starting their services."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ops.setup_machine.commands import clean_environment, output_of, run_shown, succeeds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Debian asks this program whether a freshly installed service may start; 101 means no.
POLICY_FILE = Path("/usr/sbin/policy-rc.d")
_POLICY = "#!/bin/sh\n# Put here by Shapbox's set-up for the length of one apt-get install.\nexit 101\n"


def can_install() -> bool:
    """Tell whether apt-get is here and we may use it without being asked for a password."""
    return bool(shutil.which("apt-get")) and _privilege() is not None


def installable_version(package: str) -> tuple[int, int]:
    """Return the major and minor version of the package that apt would install, or (0, 0)."""
    if not can_install():
        return (0, 0)
    _update()
    policy = output_of(["apt-cache", "policy", package]) or ""
    match = re.search(r"Candidate:\s*(?:\d+:)?(\d+)\.(\d+)", policy)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def install(packages: Sequence[str]) -> None:
    """Install Debian packages; raises SetupError with apt's last lines if that fails."""
    _update()
    command = [*(_privilege() or []), "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
    command += ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    with _services_kept_down():
        run_shown(command, f"Installing {' and '.join(packages)} with apt-get", clean_environment())


def _privilege() -> list[str] | None:
    """Return what a command that needs root begins with; None if we cannot be root."""
    if os.geteuid() == 0:
        return []
    return ["sudo", "-n"] if shutil.which("sudo") and succeeds(["sudo", "-n", "true"]) else None


def _update() -> None:
    run_shown([*(_privilege() or []), "apt-get", "update", "-q"], "Reading apt's package lists")


@contextlib.contextmanager
def _services_kept_down() -> Iterator[None]:
    """Keep Debian from starting the new package's own service."""
    if POLICY_FILE.exists():
        yield
        return
    sudo = _privilege() or []
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy-rc.d"
        policy.write_text(_POLICY, encoding="utf-8")
        placed = succeeds([*sudo, "install", "-m", "755", str(policy), str(POLICY_FILE)])
    try:
        yield
    finally:
        if placed:
            succeeds([*sudo, "rm", "-f", str(POLICY_FILE)])
