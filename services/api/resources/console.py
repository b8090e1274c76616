"""/ and /console/FILE: the static files of the console, which gets its data from /v1."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Self

import falcon

from services.api.http.authentication import Access

#: The name of the page.
INDEX = "index.html"
#: Media types by file name extension; other files are not served.
MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
#: The page may load from and connect to this server only. `blob:` and `data:` are images that it made itself.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class ConsoleFile:
    """One file as it is sent. The etag is a digest of its content."""

    content: bytes
    media_type: str
    etag: str


class ConsoleFiles:
    """The files of services/api/console by name, read once."""

    def __init__(self, files: Mapping[str, ConsoleFile]) -> None:
        self._files = dict(files)

    @classmethod
    def load(cls) -> Self:
        """Read all files: together they are smaller than one result."""
        found = {}
        for entry in resources.files("services.api").joinpath("console").iterdir():
            media_type = MEDIA_TYPES.get(entry.name.rpartition(".")[2])
            if media_type is not None:
                content = entry.read_bytes()
                etag = hashlib.sha256(content).hexdigest()[:32]
                found[entry.name] = ConsoleFile(content, media_type, etag)
        return cls(found)

    def get(self, name: str) -> ConsoleFile | None:
        """Return a file, or None if there is no file of that name."""
        return self._files.get(name)

    def names(self) -> list[str]:
        """Return the names of all files."""
        return sorted(self._files)


class ConsoleResource:
    """The page at `/`, and the files that it loads."""

    access = Access.OPEN

    def __init__(self, files: ConsoleFiles) -> None:
        self._files = files

    def on_get(self, req: Any, resp: Any, file: str = INDEX) -> None:
        """Answer with a file. Raises falcon.HTTPNotFound."""
        found = self._files.get(file)
        if found is None:
            raise falcon.HTTPNotFound
        # Revalidated on each load, so that no browser mixes files of two deployments.
        resp.set_header("Cache-Control", "no-cache")
        resp.etag = found.etag
        resp.set_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("Referrer-Policy", "no-referrer")
        if {found.etag, "*"} & set(req.if_none_match or ()):
            resp.status = 304
            return
        resp.content_type = found.media_type
        resp.data = found.content

    on_head = on_get
