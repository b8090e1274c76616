"""Generators and compilers of clients, in environments of their own under `.cache/clients`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from shared.build import ROOT

HERE = Path(__file__).parent
ENVIRONMENTS = ROOT / ".cache" / "clients"
#: Set where the tools must be there (.ci/run): their absence is then a failure.
REQUIRED = "SHAPBOX_CLIENT_TESTS"


def run(*words: str | Path, folder: Path = ROOT, seconds: float = 600, **environment: str) -> str:
    """Run a program that must succeed; return what it printed."""
    done = subprocess.run(
        list(map(str, words)),
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def python_tools() -> Path:
    """Return the folder of the programs in python.lock. Skips, or fails, if it cannot be made."""
    folder, lock = ENVIRONMENTS / "python", HERE / "python.lock"
    if not _is_current(folder, {lock.name: lock}):
        uv = Path(sys.executable).with_name("uv")
        _install(uv, "venv", "--clear", "--python", sys.executable, folder)
        _install(uv, "pip", "sync", "--require-hashes", "--only-binary", ":all:", "--python", folder, lock)
        _stamp(folder, {lock.name: lock})
    return folder / "bin"


def node_tools() -> Path:
    """Return the folder of node_modules. Skips, or fails, if it cannot be made."""
    if shutil.which("npm") is None:
        _leave_out("there is no npm (apt-get install nodejs npm)")
    folder = ENVIRONMENTS / "node"
    files = {name: HERE / "node" / name for name in ("package.json", "package-lock.json")}
    if not _is_current(folder, files):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, path in files.items():
            shutil.copy(path, folder / name)
        _install("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
        _stamp(folder, files)
    return folder


def _install(*words: str | Path, folder: Path = ROOT) -> None:
    try:
        run(*words, folder=folder)
    except AssertionError as error:
        _leave_out(f"the generators cannot be installed: {error}")


def _leave_out(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{REQUIRED}=required, and {reason}")
    pytest.skip(f"{reason}; generated clients are not tested")


def _digest(files: Mapping[str, Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in files.values())).hexdigest()


def _is_current(folder: Path, files: Mapping[str, Path]) -> bool:
    stamp = folder / "shapbox-stamp"
    return stamp.exists() and stamp.read_text(encoding="ascii") == _digest(files)


def _stamp(folder: Path, files: Mapping[str, Path]) -> None:
    (folder / "shapbox-stamp").write_text(_digest(files), encoding="ascii")
