"""The console's files: read once, when the api starts, and the same until it ends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Self

#: What the first page is called.
INDEX = "index.html"
#: Media types by the ends of the names; other files are not served.
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class ConsoleFile:
    """One file as it is sent; the tag names its content."""

    content: bytes
    media_type: str
    etag: str


class ConsoleFiles:
    """The files of services/api/console, by name."""

    def __init__(self, files: Mapping[str, ConsoleFile]) -> None:
        self._files = dict(files)

    @classmethod
    def load(cls) -> Self:
        """Read them all: together they are smaller than one answer of a job."""
        found = {}
        for entry in resources.files("services.api").joinpath("console").iterdir():
            media_type = MEDIA_TYPES.get("." + entry.name.rpartition(".")[2])
            if media_type is not None:
                content = entry.read_bytes()
                etag = hashlib.sha256(content).hexdigest()[:32]
                found[entry.name] = ConsoleFile(content, media_type, etag)
        return cls(found)

    def get(self, name: str) -> ConsoleFile | None:
        """Return a file; None if there is none of that name."""
        return self._files.get(name)

    def names(self) -> list[str]:
        """Return the names of all."""
        return sorted(self._files)
