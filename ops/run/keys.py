"""The keys that are not set: generated once, kept under DATA_DIR, never printed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from shared.errors import BootError
from shared.settings import KEY_NAMES, Role, Settings

#: Bytes of chance in a key.
KEY_BYTES = 32


def ensure_keys(settings: Settings) -> dict[str, Path]:
    """Make each unset key's file if it is missing (mode 0600); return the files by setting.

    Where only workers run there is nothing to open.
    """
    if settings.role is Role.WORKER:
        return {}
    unset = [name for name in KEY_NAMES if getattr(settings, name.lower()) is None]
    return {name: _ensure_key(settings.keys_dir / name) for name in unset}


def _ensure_key(path: Path) -> Path:
    try:
        if path.is_file() and path.read_text(encoding="ascii").strip():
            path.chmod(0o600)
            return path
        draft = path.with_name(f".{path.name}.new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise BootError(
            f"The key file {path} cannot be used ({error}): remove it and a new key is made, or set {path.name}."
        ) from error
    return path
