"""Finds the program of the embedded Redis."""

from __future__ import annotations

import shutil

from shared.errors import BootError


def redis_program() -> str:
    """Return the server's path. Raises BootError if there is none."""
    if found := shutil.which("redis-server") or shutil.which("valkey-server"):
        return found
    raise BootError(
        "redis-server is missing: install it (Debian, Ubuntu: apt-get install redis-server), "
        "or set REDIS_URL to a remote Redis."
    )
