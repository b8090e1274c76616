"""A small disk in memory, with as many bytes or inodes as a test wants."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(options: str) -> Iterator[Path]:
    """Mount a tmpfs with these options; skip the test where that is not allowed."""
    folder = Path(tempfile.mkdtemp(prefix="shapbox-"))  # short: a unix socket lies below it
    (folder / "data").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "shapbox-test", str(folder / "data")]
    try:
        made = subprocess.run(mount, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
        yield folder / "data"
        subprocess.run(["umount", "-l", str(folder / "data")], check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
