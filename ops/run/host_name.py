"""The appliance's own name: the hostname with a random part, since hostnames may be equal.

Kept under DATA_DIR: an appliance that was killed whole knows by it that the batches of its previous run are its own to
give back, at once.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from pathlib import Path

from shared.errors import BootError
from shared.settings import Settings

#: Bytes of chance: four billion names for each hostname.
CHANCE_BYTES = 4
#: Characters of the hostname that are kept.
LONGEST_HOSTNAME = 40
#: Characters of a name. It becomes part of keys and of the names of Redis's clients, which know no blanks.
NAME_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,80}")


def ensure_host_name(settings: Settings) -> str:
    """Return the name of this DATA_DIR, made if missing; raises BootError if it cannot be kept."""
    path = settings.host_name_file
    try:
        name = path.read_text(encoding="ascii", errors="replace").strip() if path.is_file() else ""
        if not NAME_PATTERN.fullmatch(name):
            name = _new_name()
            _keep(path, name)
    except OSError as error:
        raise BootError(
            f"The appliance's name cannot be kept in {path} ({error.strerror or error}): "
            "remove what is there, or make room on its disk."
        ) from error
    return name


def _new_name() -> str:
    hostname = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:LONGEST_HOSTNAME]
    return f"{hostname}-{secrets.token_hex(CHANCE_BYTES)}"


def _keep(path: Path, name: str) -> None:
    """Write the file whole: a start that is killed here must not leave half a name."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w", encoding="ascii") as file:
        file.write(f"{name}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
