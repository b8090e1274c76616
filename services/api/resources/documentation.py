"""/openapi.json and /docs: the contract of the REST interface, for programs and for people."""

from __future__ import annotations

from importlib import resources
from typing import Any

import orjson

from services.api.docs_page import render_docs
from services.api.http.authentication import Access

#: The page may load its own style and nothing else.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def load_document() -> dict[str, Any]:
    """Return the OpenAPI document, which `make openapi` writes from openapi.yaml."""
    content = resources.files("services.api").joinpath("openapi.json").read_bytes()
    document: dict[str, Any] = orjson.loads(content)
    return document


class OpenApiResource:
    """The OpenAPI document."""

    access = Access.OPEN

    def __init__(self) -> None:
        self._document = orjson.dumps(load_document())

    def on_get(self, _req: Any, resp: Any) -> None:
        """Respond with the document."""
        resp.content_type = "application/json"
        resp.data = self._document


class DocsResource:
    """The document as a page."""

    access = Access.OPEN

    def __init__(self) -> None:
        self._page = render_docs(load_document()).encode()

    def on_get(self, _req: Any, resp: Any) -> None:
        """Respond with the page."""
        resp.content_type = "text/html; charset=utf-8"
        resp.set_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        resp.data = self._page
