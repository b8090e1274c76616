"""Where a running appliance is reached from this machine, and where its keys lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from shared.settings import Settings

#: The address that a server binds for "every address": a client calls the loopback address instead.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104  # compared, not bound


def local_address(settings: Settings) -> str:
    """Return the appliance's address without a slash at its end."""
    host = _EVERYWHERE.get(settings.host) or (f"[{settings.host}]" if ":" in settings.host else settings.host)
    return f"http://{host}:{settings.port}"


def key_file(settings: Settings, environment: Mapping[str, str], name: str = "API_KEY") -> Path | None:
    """Return the file of a key: that of NAME_FILE, or the generated one; None if NAME is set."""
    given = environment.get(f"{name}_FILE", "").strip()
    if given:
        return Path(given)
    return None if environment.get(name, "").strip() else settings.keys_dir / name


def short_path(path: Path) -> str:
    """Return the path relative to the current folder if it lies below it."""
    here = Path.cwd()
    path = path.absolute()
    return str(path.relative_to(here)) if path.is_relative_to(here) else os.fspath(path)
