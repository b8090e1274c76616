"""A Python from uv: the uv on PATH, or one installed privately from our own lock."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ops.setup_machine.commands import clean_environment, output_of, run_shown, say, succeeds
from ops.setup_machine.failure import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The version that uv is asked for.
WANTED = "3.13"


def fetched_python(root: Path) -> Iterator[str]:
    """Give the path of a Python that uv has or gets; nothing where uv cannot."""
    uv = _uv_on_path() or _private_uv(root)
    if uv is None:
        return
    try:
        run_shown([uv, "python", "install", WANTED], f"Getting Python {WANTED} with uv")
    except SetupError:
        say("uv could not get a Python.")
    path = output_of([uv, "python", "find", "--no-project", WANTED])
    if path:
        yield path.strip()


def locked_requirement(lock: str, name: str) -> str | None:
    """Cut one package with its hashes out of a lock file's text."""
    match = re.search(rf"^{re.escape(name)}==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    return match.group(0) if match else None


def _uv_on_path() -> str | None:
    path = shutil.which("uv")
    return path if path and succeeds([path, "--version"]) else None


def _private_uv(root: Path) -> str | None:
    """Install the locked uv into `.cache/uv`; None if this Python has no venv or pip fails."""
    folder = root / ".cache" / "uv"
    uv = folder / "bin" / "uv"
    if succeeds([str(uv), "--version"]):
        return str(uv)
    requirement = locked_requirement((root / "requirements-dev.lock").read_text(encoding="utf-8"), "uv")
    if requirement is None or not succeeds([sys.executable, "-c", "import venv, ensurepip"]):
        return None
    try:
        run_shown([sys.executable, "-m", "venv", "--clear", str(folder)], "Making a place for uv")
        wanted = folder / "uv.lock.txt"
        wanted.write_text(requirement, encoding="utf-8")
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--require-hashes", "-r", str(wanted)]
        run_shown(pip, "Installing uv", clean_environment())
    except SetupError as error:
        say(str(error))
        return None
    return str(uv)
