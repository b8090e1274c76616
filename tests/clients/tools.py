"""Generators and compilers of clients, in environments of their own under `.cache/clients`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.build import ROOT

HERE = Path(__file__).parent
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
    """Return the folder of the programs in python.lock."""
    folder, lock = ROOT / ".cache" / "clients" / "python", HERE / "python.lock"
    uv = Path(sys.executable).with_name("uv")
    sync = (uv, "pip", "sync", "--require-hashes", "--only-binary", ":all:", "--python", folder, lock)
    _made(folder, [lock], (uv, "venv", "--clear", "--python", sys.executable, folder), sync)
    return folder / "bin"


def node_tools() -> Path:
    """Return the folder of node_modules."""
    folder = ROOT / ".cache" / "clients" / "node"
    files = [HERE / "node" / name for name in ("package.json", "package-lock.json")]
    install = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder)
    _made(folder, files, ("mkdir", "-p", folder), ("cp", *files, folder), install)
    return folder


def _made(folder: Path, locks: Sequence[Path], *commands: Sequence[str | Path]) -> None:
    """Have commands make a folder unless it fits its locks. Skips, or fails, if they cannot."""
    stamp = folder / "shapbox-stamp"
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in locks)).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        for command in commands:
            run(*command)
    except (AssertionError, OSError) as fault:
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(f"{REQUIRED}=required, and {command[0]} failed: {fault}")
        pytest.skip(f"generated clients are not tested: {command[0]} failed: {fault}")
    stamp.write_text(wanted, encoding="ascii")
