"""/version: what this build is."""

from __future__ import annotations

import platform
from typing import Any

import orjson

from services.api.components import Parts
from services.api.http.authentication import Access
from shared.build import VERSION, library_versions


class VersionResource:
    """The versions of all that makes the values."""

    access = Access.OPEN

    def __init__(self, parts: Parts) -> None:
        self._document = orjson.dumps(
            {
                "version": VERSION,
                "commit": parts.commit,
                **library_versions(),
                "engine": parts.activations.engine,
                "engines": parts.activations.best(),
                "python": platform.python_version(),
            }
        )

    def on_get(self, _req: Any, resp: Any) -> None:
        """Answer with the versions."""
        resp.content_type = "application/json"
        resp.data = self._document

    on_head = on_get
