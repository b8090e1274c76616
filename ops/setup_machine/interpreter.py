"""Finds a Python that can run Shapbox by running each candidate, since shims may not work."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ops.setup_machine import debian, uv_python
from ops.setup_machine.commands import output_of, say
from ops.setup_machine.failure import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The Python versions that the locked packages are built for, first and last.
OLDEST, NEWEST = (3, 12), (3, 14)

#: Names looked for on PATH, the best first.
NAMES = ("python3.13", "python3.12", "python3.14", "python3", "python")

#: Modules that the interpreter needs. Debian ships venv apart; home-built ones may lack ssl or ctypes.
#: The printed path is the real program, behind shims and virtual environments.
_PROBE = (
    "import sys, os, venv, ensurepip, ssl, ctypes, sqlite3\n"
    "path = getattr(sys, '_base_executable', None) or sys.executable\n"
    "print('%d.%d.%d' % sys.version_info[:3], os.path.realpath(path))"
)


def find_interpreter(root: Path) -> Path:
    """Return a Python 3.12 to 3.14 that runs, fetched if necessary; `root` is the repository.

    Raises SetupError if there is none and none can be installed.
    """
    found = _first_that_fits(candidates())
    if found is None:
        say(f"No Python {_text(OLDEST)} to {_text(NEWEST)} runs here; getting one.")
        found = _first_that_fits(uv_python.fetched_python(root))
    if found is None:
        found = _first_that_fits(_from_debian())
    if found is None:
        raise SetupError(
            f"Shapbox needs Python {_text(OLDEST)} to {_text(NEWEST)} with venv, and neither uv nor apt could give it: "
            "install one (Debian 13 or Ubuntu 24.04: apt-get install python3 python3-venv) and run make again."
        )
    return found


def probe(candidate: str) -> Path | None:
    """Run a candidate; return the real program's path if its version and its modules will do."""
    answer = re.match(r"(\d+)\.(\d+)\.\d+ (/.+)", output_of([candidate, "-I", "-c", _PROBE]) or "")
    if answer is None:
        return None
    version = (int(answer.group(1)), int(answer.group(2)))
    return Path(answer.group(3)) if OLDEST <= version <= NEWEST else None


def candidates() -> Iterator[str]:
    """Name the programs worth trying: those on PATH, then pyenv's."""
    for name in NAMES:
        path = shutil.which(name)
        if path:
            yield path
    yield from _pyenv_candidates()


def _pyenv_candidates() -> Iterator[str]:
    folder = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for minor in (13, 12, 14):
        for version in sorted(folder.glob(f"3.{minor}*"), reverse=True):
            yield str(version / "bin" / "python")


def _from_debian() -> Iterator[str]:
    if debian.installable_version("python3") >= OLDEST:
        debian.install(["python3", "python3-venv"])
        yield "/usr/bin/python3"


def _first_that_fits(programs: Iterator[str]) -> Path | None:
    for program in programs:
        found = probe(program)
        if found is not None:
            return found
    return None


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
