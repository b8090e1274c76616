"""/ and /console/FILE: the console, which is static files. Its data come from /v1, with the key that is typed in."""

from __future__ import annotations

from typing import Any

import falcon

from services.api.http.authentication import Access
from services.api.resources.console_files import INDEX, ConsoleFile, ConsoleFiles

#: What the page may load and speak to: this server alone. `blob:` and `data:` are images that it made itself.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class ConsoleResource:
    """The page."""

    access = Access.OPEN

    def __init__(self, files: ConsoleFiles) -> None:
        self._files = files

    def on_get(self, req: Any, resp: Any) -> None:
        """Answer with the page."""
        _answer(req, resp, self._files.get(INDEX))

    on_head = on_get


class ConsoleFileResource:
    """What the page loads."""

    access = Access.OPEN

    def __init__(self, files: ConsoleFiles) -> None:
        self._files = files

    def on_get(self, req: Any, resp: Any, file: str) -> None:
        """Answer with the file of this name."""
        _answer(req, resp, self._files.get(file))

    on_head = on_get


def _answer(req: Any, resp: Any, file: ConsoleFile | None) -> None:
    if file is None:
        raise falcon.HTTPNotFound
    # Asked again each time, and answered with 304: after a deploy no browser mixes old files with new ones.
    resp.set_header("Cache-Control", "no-cache")
    resp.etag = file.etag
    resp.set_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    resp.set_header("X-Content-Type-Options", "nosniff")
    resp.set_header("Referrer-Policy", "no-referrer")
    if {file.etag, "*"} & set(req.if_none_match or ()):
        resp.status = 304
        return
    resp.content_type = file.media_type
    resp.data = file.content
