"""/openapi.json and /docs: the contract of the REST interface, for programs and for people."""

from __future__ import annotations

from importlib import resources
from typing import Any

import orjson

from services.api.docs_page import render_docs
from services.api.http.authentication import Access
from services.api.http.proxies import ORIGIN

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
    """The OpenAPI document, with the address under which the client reaches the api."""

    access = Access.OPEN

    def __init__(self) -> None:
        self._document = load_document()
        self._text = orjson.dumps(self._document)

    def on_get(self, req: Any, resp: Any) -> None:
        """Respond with the document."""
        resp.content_type = "application/json"
        resp.set_header("Cache-Control", "no-cache")  # no proxy gives one client's address to another
        if url := req.env.get(ORIGIN, "") + req.root_path:
            (server,) = self._document["servers"]
            resp.data = orjson.dumps(self._document | {"servers": [server | {"url": url}]})
        else:
            resp.data = self._text


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
