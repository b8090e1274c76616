"""/ and /console/FILE: the static files of the console, which gets its data from /v1."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

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


class ConsoleResource:
    """The page at `/`, and the files that it loads."""

    access = Access.OPEN

    def __init__(self) -> None:
        """Read all files: together they are smaller than one result."""
        self._files = {}
        for entry in resources.files("services.api").joinpath("console").iterdir():
            media_type = MEDIA_TYPES.get(entry.name.rpartition(".")[2])
            if media_type is not None:
                content = entry.read_bytes()
                etag = hashlib.sha256(content).hexdigest()[:32]
                self._files[entry.name] = ConsoleFile(content, media_type, etag)

    def on_get(self, req: Any, resp: Any, file: str = INDEX) -> None:
        """Answer with a file. Raises falcon.HTTPNotFound."""
        if not req.env["PATH_INFO"]:  # the prefix without a slash, which relative links would lead away from
            resp.status = 308
            resp.set_header("Location", f"{req.root_path}/")
            return
        found = self._files.get(file)
        if found is None:
            raise falcon.HTTPNotFound
        # Revalidated on each load, so that no browser mixes files of two deployments.
        resp.set_header("Cache-Control", "no-cache")
        resp.etag = found.etag
        resp.set_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        if {found.etag, "*"} & set(req.if_none_match or ()):
            resp.status = 304
            return
        resp.content_type = found.media_type
        resp.data = found.content
