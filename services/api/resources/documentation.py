"""/openapi.json and /docs: what this API is, for programs and for people."""

from __future__ import annotations

from typing import Any

import orjson

from services.api.docs_page import render_docs
from services.api.http.authentication import Access
from services.api.openapi.document import openapi_document

#: What a page may load: its own style and nothing else, from nowhere.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class OpenApiResource:
    """The OpenAPI document."""

    access = Access.OPEN

    def __init__(self) -> None:
        self._document = orjson.dumps(openapi_document())

    def on_get(self, _req: Any, resp: Any) -> None:
        """Answer with the document."""
        resp.content_type = "application/json"
        resp.data = self._document

    on_head = on_get


class DocsResource:
    """The same as a page to read."""

    access = Access.OPEN

    def __init__(self) -> None:
        self._page = render_docs(openapi_document()).encode()

    def on_get(self, _req: Any, resp: Any) -> None:
        """Answer with the page."""
        resp.content_type = "text/html; charset=utf-8"
        resp.set_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("Referrer-Policy", "no-referrer")
        resp.data = self._page

    on_head = on_get
