"""The api's connections and waiting requests: a small file that the monitor reads."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

#: The file's constant size: overwriting it takes no space on a full disk, and readers never see half of it.
FILE_BYTES = 64
#: Seconds after which nothing is known: the api writes it every second.
MAX_AGE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ApiLoad:
    """How many connections are open, and how many requests wait for jobs."""

    connections: int
    waits: int

    def write(self, path: Path) -> None:
        """Overwrite the file, with the time. Raises OSError."""
        text = f"{time.time()} {self.connections} {self.waits}".encode().ljust(FILE_BYTES)
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(file, text)
        finally:
            os.close(file)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the load of the last seconds; None if there is none, as after the api's end."""
        try:
            written_at, connections, waits = path.read_bytes().split()
            if abs(time.time() - float(written_at)) > MAX_AGE_SECONDS:
                return None
            return cls(int(connections), int(waits))
        except (OSError, ValueError):
            return None
