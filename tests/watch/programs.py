"""Debian's prometheus and promtool."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

#: Set to `required` where their absence is a failure and no skip.
REQUIRED = "SHAPBOX_PROMETHEUS_TESTS"


def program(name: str) -> str:
    """Return the path of a program of Debian's `prometheus`; skip or fail if missing."""
    if path := shutil.which(name):
        return path
    said = f"{name} is not here (apt-get install prometheus)"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{REQUIRED}=required, and {said}")
    pytest.skip(said)


def promtool(*words: str, given: bytes = b"") -> str:
    """Run promtool; fail with what it says unless it is content."""
    ended = subprocess.run([program("promtool"), *words], input=given, capture_output=True, check=False)
    said = ended.stdout.decode() + ended.stderr.decode()
    assert ended.returncode == 0, said
    return said
