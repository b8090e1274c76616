"""/version: the versions of this build and of its libraries."""

from __future__ import annotations

import platform
from typing import Any

from services.api.components import Components
from services.api.http.authentication import Access
from services.api.resources.resource import Resource
from shared.build import VERSION, library_versions


class VersionResource(Resource, access=Access.OPEN):
    """The versions of everything that values depend on."""

    def __init__(self, components: Components) -> None:
        super().__init__(components)
        self._libraries = library_versions()

    def on_get(self, _req: Any, resp: Any) -> None:
        """Answer with the versions."""
        activations = self._components.activations
        resp.media = {
            "version": VERSION,
            "commit": self._components.commit,
            **self._libraries,
            "engine": activations.engine,
            "engines": activations.best(),
            "python": platform.python_version(),
        }
