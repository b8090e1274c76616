"""Installs Debian's packages, as root or with sudo, without starting their services."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ops.setup_machine.commands import output_of, run

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Debian asks this program whether a freshly installed service may start; 101 means no.
POLICY_FILE = Path("/usr/sbin/policy-rc.d")
_POLICY = "#!/bin/sh\n# Put here by Shapbox's set-up for the length of one apt-get install.\nexit 101\n"


def can_install() -> bool:
    """Tell whether apt-get is here and we may use it without being asked for a password."""
    return bool(shutil.which("apt-get")) and _privilege() is not None


def install(*packages: str) -> None:
    """Install Debian packages; raises SetupError with apt's last lines if that fails."""
    sudo = _privilege() or []
    run("Reading apt's package lists", *sudo, "apt-get", "update", "-q")
    apt = [
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
    ]
    with _services_kept_down(sudo):
        run(f"Installing {' and '.join(packages)} with apt-get", *sudo, *apt, *packages)


def _privilege() -> list[str] | None:
    """Return what a command that needs root begins with; None if we cannot be root."""
    if os.geteuid() == 0:
        return []
    can = shutil.which("sudo") and output_of("sudo", "-n", "true") is not None
    return ["sudo", "-n"] if can else None


@contextlib.contextmanager
def _services_kept_down(sudo: list[str]) -> Iterator[None]:
    """Keep Debian from starting the new package's own service."""
    if POLICY_FILE.exists():
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy-rc.d"
        policy.write_text(_POLICY, encoding="utf-8")
        output_of(*sudo, "install", "-m", "755", str(policy), str(POLICY_FILE))
    try:
        yield
    finally:
        output_of(*sudo, "rm", "-f", str(POLICY_FILE))
