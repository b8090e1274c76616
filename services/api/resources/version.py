"""/version: the versions of this build and of its libraries."""

from __future__ import annotations

import platform
from typing import Any

import orjson

from services.api.http.authentication import Access
from shared.build import VERSION, library_versions
from shared.models.activation.records import Activations


class VersionResource:
    """The versions of everything that values depend on."""

    access = Access.OPEN

    def __init__(self, commit: str, activations: Activations) -> None:
        self._document = orjson.dumps(
            {
                "version": VERSION,
                "commit": commit,
                **library_versions(),
                "engine": activations.engine,
                "engines": activations.best(),
                "python": platform.python_version(),
            }
        )

    def on_get(self, _req: Any, resp: Any) -> None:
        """Answer with the versions."""
        resp.content_type = "application/json"
        resp.data = self._document

    on_head = on_get
