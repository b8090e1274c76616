"""uv: the one on PATH, or one that is installed privately from our own lock."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ops.setup_machine.commands import SetupError, can_install, install, output_of, run

#: The repository's folder, and where a private uv is installed.
ROOT = Path(__file__).resolve().parent.parent.parent
PRIVATE = ROOT / ".cache" / "uv-program"
PRIVATE_PYTHON = PRIVATE / "bin" / "python"
#: uv's variables for pip's settings: who has set pip up for a mirror need not do it again.
FROM_PIP = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}


def find_uv() -> str:
    """Return a uv that runs, installed if necessary; raises SetupError."""
    for path in ("uv", str(ROOT / ".venv" / "bin" / "uv"), str(PRIVATE / "bin" / "uv")):
        if output_of(path, "--version"):
            return path
    if output_of(sys.executable, "-c", "import venv, ensurepip") is None:  # Debian ships them apart
        if not can_install():
            raise SetupError(
                f"Neither uv is here nor a Python that could install it ({sys.executable} has no venv): install one of "
                "them (Debian, Ubuntu: sudo apt-get install python3-venv) and run make again."
            )
        install("python3-venv")
    wanted = ROOT / ".cache" / "uv.lock"
    wanted.write_text(locked_requirement((ROOT / "requirements-dev.lock").read_text(encoding="utf-8"), "uv"))
    run("Making a place for uv", sys.executable, "-m", "venv", "--clear", str(PRIVATE))
    pip = [str(PRIVATE_PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run("Installing uv", *pip, "--require-hashes", "-r", str(wanted))
    return str(PRIVATE / "bin" / "uv")


def locked_requirement(lock: str, name: str) -> str:
    """Cut one package with its hashes out of a lock file's text."""
    match = re.search(rf"^{re.escape(name)}==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    if match is None:
        raise SetupError(f"The lock file has no {name}: restore it (git checkout requirements-dev.lock).")
    return match.group(0)


def index_settings() -> dict[str, str]:
    """Return uv's variables for the package indexes that pip is configured for here.

    All indexes are searched for each package, as pip does: the lock's hashes decide what is installed.
    """
    python = PRIVATE_PYTHON if PRIVATE_PYTHON.exists() else sys.executable
    listed = output_of(str(python), "-m", "pip", "config", "list") or ""
    return {"UV_INDEX_STRATEGY": "unsafe-best-match", **from_pip(listed)}


def from_pip(listed: str) -> dict[str, str]:
    """Translate the output of `pip config list`; the environment wins over files, as with pip."""
    found = {}
    for section in ("global", "install", ":env:"):
        for name, value in re.findall(rf"^{section}\.([\w-]+)='(.*)'$", listed, re.MULTILINE):
            if name in FROM_PIP:
                separator = "," if name == "find-links" else " "
                found[FROM_PIP[name]] = separator.join(value.replace("\\n", " ").split())
    return found
