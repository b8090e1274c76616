"""Folders and one-time work that the processes of one test run share (pytest-xdist)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def common_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of all processes of this run, and of no other run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[], object]) -> None:
    """Make something that all processes use, unless one of them has made it already."""
    folder = common_folder(tmp_path_factory)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        done = folder / f"{name}.made"
        if not done.exists():
            make()
            done.touch()
